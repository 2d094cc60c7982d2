package mobilenetkit.classifier

import java.io.File
import java.nio.ByteBuffer
import java.security.MessageDigest
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class ModelFileTest {
    private fun read(file: ByteArray) =
        ModelFile.read(ByteBuffer.allocateDirect(file.size).apply { put(file).rewind() })

    private fun refused(file: ByteArray): String =
        assertThrows(ClassifierException::class.java) { read(file) }.message!!.also {
            assertTrue(it, '\n' !in it && it.startsWith("expected"))
        }

    private fun refusedCard(vararg changes: Pair<String, Any?>) =
        refused(packaged("kit.json" to cardText(*changes)))

    @Test
    fun card() {
        val file = packaged("labels.txt" to "a\nb\n", "kit.json" to cardText("alpha" to JSONObject.NULL))
        val card = read(file).card
        assertEquals(listOf("a", "b"), card.labels)
        assertEquals(null, card.alpha)
        assertEquals(PreprocessSpec(4, Fit.STRETCH, Resize.BILINEAR, null, null), card.preprocess)
    }

    @Test
    fun otherFiles() {
        assertTrue("another kind of file" in refused(ByteArray(0)))
        assertTrue("another kind of file" in refused(ByteArray(100)))
        assertTrue("has none" in refused(flatbuffer))
        assertTrue("has none" in refused(packaged("labels.txt" to "a\nb\n")))
        assertTrue("expected JSON" in refused(packaged("kit.json" to "no JSON")))
    }

    @Test
    fun filesOfThePythonSide() {
        for (name in listOf("plain_int8", "plain_float32", "plain_uint8")) {
            refused(File("../../tests/files/$name.tflite").readBytes())
        }
        val card = read(File("../../tests/files/red_green_blue_int8.tflite").readBytes()).card
        assertEquals(listOf("red", "green", "blue"), card.labels)
    }

    @Test
    fun cutOffAnywhereIsRefused() {
        val file = packaged("kit.json" to cardText())
        for (size in file.indices) refused(file.copyOf(size))
    }

    @Test
    fun damagedAnywhereIsRefusedOrRead() {
        val file = packaged("kit.json" to cardText(), "labels.txt" to "a\nb\n")
        for (place in flatbuffer.size until file.size) {
            for (flip in listOf(0x01, 0x80, 0xFF)) {
                val other = file.copyOf()
                other[place] = (other[place].toInt() xor flip).toByte()
                try {
                    read(other)
                } catch (error: ClassifierException) {
                    assertTrue(error.message!!.startsWith("expected"))
                }
            }
        }
    }

    @Test
    fun impossibleCards() {
        assertTrue("update the app" in refusedCard("schema_version" to 3))
        assertTrue("card.labels" in refusedCard("labels" to "a"))
        val preprocess = JSONObject(cardText()).getJSONObject("preprocess")
        for ((name, value) in listOf("fit" to "STRETCH", "layout" to "nhwc", "channels" to "3")) {
            val other = JSONObject(preprocess.toString()).put(name, value)
            assertTrue(name in refusedCard("preprocess" to other))
        }
        refusedCard("labels" to listOf<String>())
        refusedCard("labels" to listOf("a\nb"))
        refusedCard("labels" to listOf(1))
        refusedCard("backbone" to JSONObject.NULL)
        refusedCard("alpha" to "0.25")
        refusedCard("score_threshold" to true)
        val point = mapOf("positive" to "a", "negative_below" to 0.5, "positive_from" to 0.25)
        assertTrue("negative_below" in refusedCard("operating_point" to point))
        refusedCard("operating_point" to point + mapOf("positive" to "c", "positive_from" to 0.5))
        refusedCard("screening" to mapOf("unfamiliarity_threshold" to -1, "activation_map" to true))
        val golden = mapOf("pattern" to 0, "digest" to "", "scores" to listOf(1), "tolerance" to 0)
        refusedCard("golden" to listOf(golden))
        val spec = mapOf("input_resolution" to 4, "fit" to "stretch", "resize" to "bilinear")
        refusedCard("preprocess" to spec + mapOf("fit" to "squeeze"))
        refusedCard("preprocess" to spec + mapOf("input_resolution" to 0))
        refusedCard("preprocess" to spec + mapOf("input_resolution" to 4.5))
        refusedCard("preprocess" to spec + mapOf("mean" to listOf(1, 2, 3)))
        refusedCard("preprocess" to spec + mapOf("mean" to listOf(1, 2), "std" to listOf(1, 2)))
        refusedCard("preprocess" to spec + mapOf("mean" to listOf(1, 2, 3), "std" to listOf(1, 0, 3)))
        refusedCard("preprocess" to spec + mapOf("channel_order" to "BGR"))
    }

    @Test
    fun aChangedModelIsRefused() {
        val digest = MessageDigest.getInstance("SHA-256").digest(flatbuffer)
        val hexadecimal = digest.joinToString("") { "%02x".format(it) }
        val file = packaged("kit.json" to cardText("model_sha256" to hexadecimal))
        assertEquals(hexadecimal, read(file).card.modelSha256)
        val changed = file.copyOf().also { it[20] = 1 }
        assertTrue("was changed: copy the file again" in refused(changed))
    }
}
