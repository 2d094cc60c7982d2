package mobilenetkit.demo

import java.io.File
import java.nio.ByteBuffer
import java.util.concurrent.atomic.AtomicInteger
import mobilenetkit.classifier.Interpreter
import mobilenetkit.classifier.Pixels
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
        session.labelFrame {
            session.close()
            Pixels.fromArgb(1, 1, intArrayOf(-1))
        }
        settle { closed.get() == 1 }
        assertEquals(null, session.found)
    }
}
