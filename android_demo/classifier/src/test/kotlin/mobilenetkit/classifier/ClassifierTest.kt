package mobilenetkit.classifier

import java.io.File
import java.nio.ByteBuffer
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** Scores in proportion to the sums of the channels, as the file red_green_blue_int8 gives them. */
class SumOfChannels(
    override val inputs: List<Tensor> = listOf(Tensor("input", listOf(1, 8, 8, 3), Dtype.UINT8)),
    override val outputs: List<Tensor> = listOf(Tensor("scores", listOf(1, 3), Dtype.FLOAT32)),
) : Interpreter {
    var closed = false

    override fun run(input: ByteBuffer, outputs: List<ByteBuffer>) {
        val sums = FloatArray(3)
        for (i in 0 until input.limit()) sums[i % 3] += (input.get(i).toInt() and 0xFF).toFloat()
        sums.forEachIndexed { i, sum -> outputs[0].putFloat(4 * i, sum / sums.sum()) }
    }

    override fun close() {
        closed = true
    }
}

class ClassifierTest {
    private val content = File("../../tests/files/red_green_blue_int8.tflite").readBytes().let {
        ByteBuffer.allocateDirect(it.size).apply { put(it).rewind() } as ByteBuffer
    }

    private fun one(red: Int, green: Int, blue: Int) =
        Pixels(5, 7, ByteArray(5 * 7 * 3) { listOf(red, green, blue)[it % 3].toByte() })

    private fun fake(): SumOfChannels {
        val side = ModelFile.read(content).card.preprocess.inputResolution
        val pixelsAsTheyAre = Quantization(1 / 127.5, 128)
        return SumOfChannels(
            listOf(Tensor("input", listOf(1, side, side, 3), Dtype.UINT8, pixelsAsTheyAre)),
        )
    }

    @Test
    fun classify() {
        Classifier.open(content) { fake() }.use { classifier ->
            val found = classifier.classify(one(200, 40, 10), topK = 2)
            assertEquals(listOf("red", "green"), found.answer.categories.map { it.label })
            assertEquals(0.8f, found.answer.categories.first().score, 0.01f)
            assertEquals(null, found.heatMap)
            assertTrue(found.latencyMs > 0)
        }
    }

    private fun refused(interpreter: SumOfChannels): String {
        val error = assertThrows(ClassifierException::class.java) {
            Classifier.open(content) { interpreter }
        }
        assertTrue(interpreter.closed)
        return error.message!!
    }

    @Test
    fun anInterpreterThatDoesNotFitTheCard() {
        val scores = Tensor("scores", listOf(1, 3), Dtype.FLOAT32)
        assertTrue("pixels" in refused(SumOfChannels(listOf(Tensor("i", listOf(1, 9, 9, 3), Dtype.UINT8)))))
        assertTrue("labels" in refused(SumOfChannels(fake().inputs, listOf(scores.copy(shape = listOf(1, 4))))))
        assertTrue("outputs" in refused(SumOfChannels(fake().inputs, listOf(scores, scores))))
        assertTrue("outputs" in refused(SumOfChannels(fake().inputs, listOf())))
    }

    @Test
    fun anInterpreterThatRefusesOrFails() {
        val error = assertThrows(ClassifierException::class.java) {
            Classifier.open(content) { throw IllegalArgumentException("no\n such operator") }
        }
        assertTrue(error.message!!.endsWith("no such operator"))
        val failing = object : Interpreter by fake() {
            override fun run(input: ByteBuffer, outputs: List<ByteBuffer>) = throw IllegalStateException("x")
        }
        val classifier = Classifier.open(content) { failing }
        assertThrows(ClassifierException::class.java) { classifier.classify(one(1, 2, 3)) }
    }

    @Test
    fun selfTestTellsAnotherAnswer() {
        val right = Classifier.open(content) { fake() }
        val results = selfTest(right)
        assertEquals(right.card.golden.size, results.size)
        assertTrue(results.isNotEmpty() && results.all { it.samePixels })
        assertFalse(CheckResult(samePixels = false, difference = 0.0, tolerance = 1.0).passed)
        assertFalse(CheckResult(samePixels = true, difference = 0.2, tolerance = 0.1).passed)
    }
}
