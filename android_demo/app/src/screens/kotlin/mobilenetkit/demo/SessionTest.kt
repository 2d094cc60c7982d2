package mobilenetkit.demo

import java.io.File
import java.nio.ByteBuffer
import java.util.concurrent.atomic.AtomicInteger
import mobilenetkit.classifier.Interpreter
import mobilenetkit.classifier.Pixels
import mobilenetkit.classifier.cardText
import mobilenetkit.classifier.packaged
import org.junit.Assert.assertEquals
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34])
class SessionTest {
    private val opened = AtomicInteger()
    private val closed = AtomicInteger()

    @Before
    fun aModel() = Screen.install(File("../../tests/files/red_green_blue_int8.tflite").readBytes())

    private fun counted(content: ByteBuffer): Interpreter {
        opened.incrementAndGet()
        return object : Interpreter by FixedAnswer(content, listOf(floatArrayOf(0.5f, 0.125f, 0.375f))) {
            override fun close() {
                closed.incrementAndGet()
            }
        }
    }

    private fun session() = Session(RuntimeEnvironment.getApplication(), ::counted)

    private fun settle(isSo: () -> Boolean) =
        settle({ "opened ${opened.get()}, closed ${closed.get()}" }, isSo)

    @Test
    fun aModelThatIsLoadedTooLateIsClosed() {
        session().close()
        settle { closed.get() == 1 }
        assertEquals(1, opened.get())
    }

    @Test
    fun bothModelsAreClosedWhenItEndsBetweenThem() {
        val session = session()
        settle { session.model is Model.Ready }
        session.load()
        session.close()
        settle { closed.get() == 2 }
        assertEquals(2, opened.get())
    }

    @Test
    fun aFrameThatComesTooLateIsDropped() {
        val session = session()
        settle { session.model is Model.Ready }
        session.frameLabeller()({
            session.close()
            Pixels.fromArgb(1, 1, intArrayOf(-1))
        })
        settle { closed.get() == 1 }
        assertEquals(null, session.found)
    }

    @Test
    fun aFrameIsAnsweredByTheMeanOfTheLastThreeOfOneCameraAndModel() {
        val screening = mapOf("unfamiliarity_threshold" to 1.5, "activation_map" to false)
        Screen.install(packaged("kit.json" to cardText("screening" to screening)))
        val (scores, unfamiliarity) = listOf(FloatArray(2), FloatArray(1))
        val session = Session(RuntimeEnvironment.getApplication()) { content ->
            FixedAnswer(content, listOf(scores, unfamiliarity))
        }
        settle { session.model is Model.Ready }
        var label = session.frameLabeller()

        /** The score of a, and whether the frame is unknown. */
        fun answer(a: Float, unlike: Float): Pair<Float, Boolean?> {
            scores[0] = a
            unfamiliarity[0] = unlike
            val before = session.found
            label { Pixels.fromArgb(1, 1, intArrayOf(-1)) }
            settle { session.found !== before }
            val found = session.found!!.answer
            return found.categories.single { it.label == "a" }.score to found.unknown
        }
        assertEquals(0.75f to true, answer(0.75f, 3f))
        assertEquals(0.5f to true, answer(0.25f, 1f))
        assertEquals(0.5f to false, answer(0.5f, 0f))
        assertEquals("the first is forgotten", 0.25f to false, answer(0f, 0f))

        label = session.frameLabeller()
        assertEquals("another camera", 1f to true, answer(1f, 2f))
        val model = session.model
        session.load()
        settle { session.model !== model }
        assertEquals("another model", 0f to false, answer(0f, 1f))
    }
}
