package mobilenetkit.classifier

import java.io.DataInputStream
import java.io.File
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import javax.imageio.ImageIO
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assume.assumeTrue
import org.junit.Test

/** The desktop's interpreter, in a child process: tests/support/other_runtimes/serve_interpreter.py. */
class PipeInterpreter(python: String, script: String, model: String) : Interpreter {
    private val process = ProcessBuilder(python, script, model)
        .redirectError(ProcessBuilder.Redirect.INHERIT).start()
    private val answers = DataInputStream(process.inputStream.buffered())
    private val header = JSONObject(String(next()))
    override val inputs = tensors("inputs")
    override val outputs = tensors("outputs")

    private fun next() = ByteArray(answers.readInt()).also { answers.readFully(it) }

    // By index: Android's JSONArray, under which the app's tests run this, is no Iterable.
    private fun tensors(name: String): List<Tensor> {
        val all = header.getJSONArray(name)
        return List(all.length()) { index ->
            val tensor = all.getJSONObject(index)
            val lengths = tensor.getJSONArray("shape")
            val shape = List(lengths.length()) { lengths.getInt(it) }
            Tensor(tensor.getString("name"), shape, tensor.dtype(), tensor.quantization())
        }
    }

    override fun run(input: ByteBuffer, outputs: List<ByteBuffer>) {
        process.outputStream.write(ByteArray(input.remaining()).also { input.duplicate().get(it) })
        process.outputStream.flush()
        outputs.forEach { it.duplicate().put(next()) }
    }

    override fun close() = process.destroy()
}

/** Labels PNGs and writes what it found, for tests/test_android.py to compare. */
class EndToEndTest {
    @Test
    fun labelPhotographs() {
        val folder = System.getProperty("kit.photographs")
        assumeTrue("tests/test_android.py gives the folder", folder != null)
        val model = System.getProperty("kit.model")
        val content = FileChannel.open(File(model).toPath()).use {
            it.map(FileChannel.MapMode.READ_ONLY, 0, it.size())
        }
        val interpreterOf = { _: ByteBuffer ->
            PipeInterpreter(System.getProperty("kit.python"), System.getProperty("kit.server"), model)
        }
        Classifier.open(content, interpreterOf).use { classifier ->
            val lines = File(folder!!).listFiles { file -> file.extension == "png" }!!.sorted()
                .map { described(it.name, classifier.classify(read(it))) }
            val checks = JSONArray(selfTest(classifier).map { it.passed })
            val all = lines + JSONObject().put("self_test", checks)
            File(folder, "answers.jsonl").writeText(all.joinToString("\n", postfix = "\n"))
        }
    }

    private fun read(file: File): Pixels {
        val image = ImageIO.read(file)
        val levels = image.raster.getPixels(0, 0, image.width, image.height, null as IntArray?)
        return Pixels(image.height, image.width, ByteArray(levels.size) { levels[it].toByte() })
    }

    private fun described(name: String, found: Classification): JSONObject {
        val categories = found.answer.categories.map {
            JSONObject().put("index", it.index).put("label", it.label).put("score", it.score)
        }
        val heat = found.heatMap?.shares?.toList()?.let { JSONArray(it) }
        return JSONObject().put("image", name).put("categories", JSONArray(categories))
            .put("answer", found.answer.decision?.name?.lowercase() ?: JSONObject.NULL)
            .put("unknown", found.answer.unknown ?: JSONObject.NULL)
            .put("heat", heat ?: JSONObject.NULL)
    }
}
