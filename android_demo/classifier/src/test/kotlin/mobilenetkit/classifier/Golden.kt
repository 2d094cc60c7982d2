package mobilenetkit.classifier

import java.io.File
import java.util.Base64
import org.json.JSONObject

/** The files that the Python side is tested with too. */
object Golden {
    private val folder = File("../../tests/golden")

    fun file(name: String) = JSONObject(File(folder, name).readText())

    fun cases(name: String): List<JSONObject> {
        val cases = file(name).getJSONArray("cases")
        return List(cases.length()) { cases.getJSONObject(it) }
    }
}

fun JSONObject.bytes(name: String): ByteArray = Base64.getDecoder().decode(getString(name))

fun JSONObject.orNull(name: String): Any? = opt(name).takeUnless { it == JSONObject.NULL }

fun JSONObject.dtype() = Dtype.valueOf(getString("dtype").uppercase())

fun JSONObject.quantization() = (orNull("quantization") as JSONObject?)?.let {
    Quantization(it.getDouble("scale"), it.getInt("zero_point"))
}

/** A card of `kit.json`'s form with some fields of one's own. */
fun cardText(vararg changes: Pair<String, Any?>): String {
    val card = JSONObject(
        """{"schema_version": 1, "backbone": "mobilenet_v1", "alpha": 0.25, "quantization": "int8",
        "preprocess": {"input_resolution": 4, "fit": "stretch", "resize": "bilinear", "mean": null,
        "std": null}, "labels": ["a", "b"]}""",
    )
    // Android's own JSONObject takes no Map and no List as they are.
    changes.forEach { (name, value) -> card.put(name, JSONObject.wrap(value)) }
    return card.toString()
}
