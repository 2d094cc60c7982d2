package mobilenetkit.classifier

import java.security.MessageDigest
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class PreprocessTest {
    private fun draw(case: JSONObject): Pixels {
        val (a, b, d, e) = case.getJSONArray("formula").map { it as Int }
        val height = case.getInt("height")
        val width = case.getInt("width")
        val rgb = ByteArray(height * width * 3) { i ->
            val (y, x, c) = Triple(i / 3 / width, i / 3 % width, i % 3)
            ((a * y + b * x + d * c + x * y / e) % 256).toByte()
        }
        return Pixels(height, width, rgb)
    }

    @Test
    fun goldenFile() {
        val cases = Golden.cases("golden.json")
        assertTrue(cases.size > 80)
        for (case in cases) {
            val name = case.getString("name")
            val spec = ModelCard.parse(cardText("preprocess" to case.getJSONObject("preprocess"))).preprocess
            val fitted = fitPixels(draw(case), spec)
            assertArrayEquals(name, case.bytes("pixels"), fitted.rgb)
            val input = Tensor("input", spec.shape, case.dtype(), case.quantization())
            val tensor = toTensor(fitted, spec, input)
            val bytes = ByteArray(tensor.remaining()).also { tensor.get(it) }
            assertArrayEquals(name, case.bytes("tensor"), bytes)
            val digest = MessageDigest.getInstance("SHA-256").digest(bytes)
            assertEquals(case.getString("sha256"), digest.joinToString("") { "%02x".format(it) })
        }
    }

    @Test
    fun weightsOfEveryPositionSumTo256() {
        for (resize in Resize.values()) {
            for (source in listOf(1, 2, 7, 224, 4000)) {
                for (target in listOf(1, 3, 224)) {
                    for (taps in filterTaps(source, target, resize)) {
                        assertEquals(256, taps.weights.sum())
                        assertTrue(taps.first >= 0 && taps.first + taps.weights.size <= source)
                    }
                }
            }
        }
    }
}
