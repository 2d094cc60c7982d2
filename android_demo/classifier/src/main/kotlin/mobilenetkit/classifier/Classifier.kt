package mobilenetkit.classifier

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * An answer and what it took.
 *
 * @property heatMap of the best label; null where the file has no activation map.
 * @property latencyMs of preprocessing and inference together.
 */
class Classification(val answer: Answer, val heatMap: HeatMap?, val latencyMs: Double)

/**
 * What a model gives for one image.
 *
 * @property scores one for each label.
 * @property unfamiliarity null of a plain file.
 */
class Output(val scores: FloatArray, val unfamiliarity: Float?)

/** A model file and pixels in, labels and scores out. Not for two threads at once. */
class Classifier private constructor(
    val file: ModelFile,
    private val interpreter: Interpreter,
) : AutoCloseable {
    private val input = interpreter.inputs.single()
    private val outputs = interpreter.outputs
    private val buffers = outputs.map {
        ByteBuffer.allocateDirect(it.size * it.dtype.bytes).order(ByteOrder.nativeOrder())
    }

    val card: ModelCard get() = file.card

    /**
     * @param last of the frames before, by whose mean with this one's the answer is made; this one's
     *   is added to it.
     * @throws ClassifierException the model fails when it runs.
     */
    fun classify(
        pixels: Pixels,
        topK: Int = Int.MAX_VALUE,
        last: MutableList<Output> = mutableListOf(),
    ): Classification {
        val start = System.nanoTime()
        run(fitPixels(pixels, card.preprocess))
        val latencyMs = (System.nanoTime() - start) / 1e6
        val own = toScores(output(SCORES), card.outputKind)
        last += Output(own, card.screening?.let { output(UNFAMILIARITY).single() })
        val scores = FloatArray(own.size) { label -> last.map { it.scores[label] }.average().toFloat() }
        val unfamiliarity = card.screening?.let { last.map { it.unfamiliarity!! }.average().toFloat() }
        val answer = answer(card, scores, unfamiliarity, topK)
        val heatMap = if (card.screening?.activationMap == true) {
            val (rows, columns) = outputs[ACTIVATION_MAP].shape.subList(1, 3)
            val best = answer.categories.firstOrNull()?.index
                ?: scores.indices.maxByOrNull { scores[it] }!!
            HeatMap.of(output(ACTIVATION_MAP), rows, columns, best)
        } else {
            null
        }
        return Classification(answer, heatMap, latencyMs)
    }

    /** Scores of pixels that have the input's size already. */
    fun scores(fitted: Pixels): FloatArray {
        run(fitted)
        return toScores(output(SCORES), card.outputKind)
    }

    override fun close() = interpreter.close()

    private fun run(fitted: Pixels) {
        try {
            interpreter.run(toTensor(fitted, card.preprocess, input), buffers)
        } catch (error: RuntimeException) {
            throw ClassifierException("expected a model that runs, it fails: ${oneLine(error)}", error)
        }
    }

    private fun output(index: Int): FloatArray = dequantize(buffers[index], outputs[index])

    companion object {
        private const val SCORES = 0
        private const val UNFAMILIARITY = 1
        private const val ACTIVATION_MAP = 2
        private val INPUT_DTYPES = setOf(Dtype.FLOAT32, Dtype.UINT8, Dtype.INT8)

        /**
         * Reads and checks a file, and builds its interpreter.
         *
         * @param content see [ModelFile.read].
         * @throws ClassifierException the file is damaged, has no card, does not fit its card, or
         *   the interpreter refuses it.
         */
        fun open(content: ByteBuffer, interpreterOf: (ByteBuffer) -> Interpreter): Classifier {
            val file = ModelFile.read(content)
            val interpreter = try {
                interpreterOf(content)
            } catch (error: RuntimeException) {
                throw ClassifierException(
                    "expected a model that the interpreter takes, it refuses: ${oneLine(error)}",
                    error,
                )
            }
            try {
                check(file.card, interpreter)
                return Classifier(file, interpreter)
            } catch (error: ClassifierException) {
                interpreter.close()
                throw error
            }
        }

        private fun check(card: ModelCard, interpreter: Interpreter) {
            val shape = card.preprocess.shape
            val input = interpreter.inputs.singleOrNull()
            expect(input?.shape == shape && input.dtype in INPUT_DTYPES) {
                "expected an input of ${card.preprocess.size} pixels, $shape, as its card says, " +
                    "got ${interpreter.inputs.map { it.shape }}: package the model again"
            }
            val further = buildList {
                if (card.screening != null) add("unfamiliarity")
                if (card.screening?.activationMap == true) add("activation_map")
            }
            val outputs = interpreter.outputs
            expect(outputs.isNotEmpty() && outputs.drop(1).map { it.name } == further) {
                "expected the outputs scores, ${further.joinToString()}, as its card says, " +
                    "got ${outputs.joinToString { it.name }}: make the file again"
            }
            val ofOneNumber = card.outputKind in setOf(OutputKind.PROBABILITY, OutputKind.LOGIT)
            val scores = if (ofOneNumber) 2 * outputs.first().size else outputs.first().size
            expect(scores == card.labels.size) {
                "expected $scores labels, one for each score, " +
                    "got ${card.labels.size}: package the model again"
            }
        }

        private fun oneLine(error: Throwable) =
            error.message.orEmpty().split(Regex("\\s+")).joinToString(" ").trim()
    }
}
