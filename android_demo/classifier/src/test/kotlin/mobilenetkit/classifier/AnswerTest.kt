package mobilenetkit.classifier

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class AnswerTest {
    private fun card(case: JSONObject): ModelCard {
        val screening = case.orNull("unfamiliarity_threshold")?.let {
            JSONObject().put("unfamiliarity_threshold", it).put("activation_map", false)
        }
        return ModelCard.parse(
            cardText(
                "labels" to case.getJSONArray("labels"),
                "score_threshold" to case.orNull("score_threshold"),
                "operating_point" to case.orNull("operating_point"),
                "screening" to screening,
                "output_kind" to case.getString("output_kind"),
            ),
        )
    }

    @Test
    fun goldenFile() {
        val cases = Golden.cases("answers.json")
        assertTrue(cases.size > 25)
        for (case in cases) {
            val name = case.getString("name")
            val card = card(case)
            val width = case.bytes("output").size / case.dtype().bytes
            val tensor = Tensor("output", listOf(1, width), case.dtype(), case.quantization())
            val row = dequantize(ByteBuffer.wrap(case.bytes("output")), tensor)
            val expected = floats(case.bytes("scores"))
            val ours = toScores(row, card.outputKind)
            // Libraries differ in the last bit of an exponential; all else is the same to the bit.
            val allowed = if (card.outputKind == OutputKind.SCORES) 0f else 1e-6f
            assertArrayEquals(name, expected, ours, allowed)
            val scores = if (allowed == 0f) ours else expected
            val unfamiliarity = case.orNull("unfamiliarity")?.let {
                ByteBuffer.wrap(case.bytes("unfamiliarity")).order(ByteOrder.LITTLE_ENDIAN).getFloat()
            }
            val found = answer(card, scores, unfamiliarity, case.orNull("top_k") as Int? ?: 99)
            assertEquals(name, categories(case.getJSONArray("categories")), found.categories)
            assertEquals(name, case.orNull("answer"), found.decision?.name?.lowercase())
            assertEquals(name, case.orNull("unknown"), found.unknown)
        }
    }

    private fun floats(bytes: ByteArray): FloatArray {
        val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
        return FloatArray(bytes.size / 4) { buffer.getFloat() }
    }

    private fun categories(list: JSONArray) = list.map {
        val category = it as JSONObject
        Category(category.getInt("index"), category.getString("label"), category.getFloat("score"))
    }

    @Test
    fun heatMapIsOfOneLabelInSharesOfItsStrongestPlace() {
        val values = floatArrayOf(9f, -1f, 9f, 2f, 9f, 4f, 9f, Float.NaN) // [2, 2, 2 labels]
        val map = HeatMap.of(values, 2, 2, label = 1)
        assertArrayEquals(floatArrayOf(0f, 0.5f, 1f, 0f), map.shares, 0f)
        val (none, half, most) = map.argb().toList()
        assertEquals(0, none)
        assertEquals(0x53DC2832, half)
        assertEquals(166, most ushr 24)
        assertEquals(0xFFFF78, most and 0xFFFFFF)
    }

    @Test
    fun nothingSpeaksForTheLabel() {
        val map = HeatMap.of(floatArrayOf(-1f, -2f, 0f, -3f), 2, 2, label = 0)
        assertTrue(map.argb().all { it == 0 })
    }
}
