package mobilenetkit.classifier

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** Of kit.json; a newer one is refused. */
const val SCHEMA_VERSION = 2

enum class Fit { STRETCH, CROP, PAD }

enum class Resize { BILINEAR, ANTIALIAS }

/** Where the channels of an input stand: last or first. */
enum class Layout { NHWC, NCHW }

/** What a model's output is, and so how it becomes scores: see [toScores]. */
enum class OutputKind { SCORES, LOGITS, PROBABILITY, LOGIT, INDEPENDENT_SCORES }

/**
 * From decoded RGB pixels to the model's input; docs/explanation/preprocessing.md has the arithmetic.
 *
 * @property inputResolution side of the square input, in pixels; its height, if it is not square.
 * @property mean one value for each channel, subtracted from pixels of 0 to 255; null with [std]
 *   for a model that takes pixels as they are.
 * @property std one value for each channel, which then divides.
 * @property inputWidth width of the input, in pixels.
 * @property channels 3 for RGB, 1 for grey.
 */
data class PreprocessSpec(
    val inputResolution: Int,
    val fit: Fit,
    val resize: Resize,
    val mean: List<Double>?,
    val std: List<Double>?,
    val inputWidth: Int = inputResolution,
    val channels: Int = 3,
    val layout: Layout = Layout.NHWC,
) {
    /** Of height and width; what an image must not be decoded smaller than. */
    val longerSide: Int get() = maxOf(inputResolution, inputWidth)

    /** For people: `224` of a square input, else `160x224`. */
    val size: String
        get() = if (inputResolution == inputWidth) "$inputResolution" else "${inputResolution}x$inputWidth"

    /** Of the input tensor with one image. */
    val shape: List<Int>
        get() = when (layout) {
            Layout.NHWC -> listOf(1, inputResolution, inputWidth, channels)
            Layout.NCHW -> listOf(1, channels, inputResolution, inputWidth)
        }
}

/** From which score of [positive] an image is positive, and below which it is negative. */
data class OperatingPoint(
    val positive: String,
    val negativeBelow: Double,
    val positiveFrom: Double,
)

/** @property unfamiliarityThreshold above it an image is unknown; 1 is a typical training image. */
data class Screening(val unfamiliarityThreshold: Double, val activationMap: Boolean)

/**
 * One drawn input whose scores are known, see [selfTest].
 *
 * @property digest SHA-256 of its pixels at the input resolution.
 * @property tolerance largest difference of a score that another processor may show.
 */
data class GoldenCheck(
    val pattern: Int,
    val digest: String,
    val scores: List<Double>,
    val tolerance: Double,
)

/** A share with its number of images and 95 % interval. */
data class Measured(val value: Double, val images: Int, val low: Double, val high: Double)

/**
 * What travels inside a model file: kit.json, as kit/model/spec.py defines it.
 *
 * @property modelSha256 of all that stands before the archive, in hexadecimal; empty in files that
 *   earlier kits made.
 */
data class ModelCard(
    val backbone: String,
    val alpha: Double?,
    val quantization: String,
    val preprocess: PreprocessSpec,
    val labels: List<String>,
    val scoreThreshold: Double?,
    val operatingPoint: OperatingPoint?,
    val screening: Screening?,
    val golden: List<GoldenCheck>,
    val accuracy: Measured?,
    val intendedUse: String,
    val created: String,
    val outputKind: OutputKind,
    val modelSha256: String,
) {
    companion object {
        /** @throws ClassifierException where a field is missing, of a wrong type or impossible. */
        fun parse(text: String): ModelCard = try {
            read(Fields("card", JSONObject(text)))
        } catch (error: JSONException) {
            throw ClassifierException("expected JSON in kit.json, got something else", error)
        }

        private fun read(card: Fields): ModelCard {
            val version = card.integer("schema_version")
            expect(version <= SCHEMA_VERSION) {
                "expected kit.json of schema version $SCHEMA_VERSION or older, got $version: " +
                    "update the app"
            }
            val labels = card.list("labels") { it as? String }
            expect(labels.isNotEmpty() && labels.none { it.isBlank() || '\n' in it || '\r' in it }) {
                "expected labels, each one line of text, got ${labels.size}, some empty or of several"
            }
            val point = card.child("operating_point")?.let(::operatingPoint)
            expect(point == null || point.positive in labels) {
                "expected an operating point of one of the labels, got '${point?.positive}'"
            }
            val golden = card.children("golden").map(::goldenCheck)
            expect(golden.all { it.scores.size == labels.size }) {
                "expected ${labels.size} golden scores, one for each label, got another number"
            }
            return ModelCard(
                backbone = card.text("backbone"),
                alpha = card.numberOrNull("alpha"),
                quantization = card.text("quantization"),
                preprocess = preprocess(card.childOrThrow("preprocess")),
                labels = labels,
                scoreThreshold = card.numberOrNull("score_threshold"),
                operatingPoint = point,
                screening = card.child("screening")?.let(::screening),
                golden = golden,
                accuracy = card.child("metrics")?.child("test")?.let(::accuracy),
                intendedUse = card.textOrNull("intended_use").orEmpty(),
                created = card.textOrNull("created").orEmpty(),
                outputKind = card.choiceOrNull<OutputKind>("output_kind") ?: OutputKind.SCORES,
                modelSha256 = card.textOrNull("model_sha256").orEmpty(),
            )
        }

        private fun preprocess(fields: Fields): PreprocessSpec {
            val side = fields.integer("input_resolution")
            val width = fields.integerOrNull("input_width") ?: side
            for ((name, length) in listOf("input_resolution" to side, "input_width" to width)) {
                expect(length in 1..4096) { "expected an $name of 1 to 4096, got $length" }
            }
            val channels = fields.integerOrNull("channels") ?: 3
            expect(channels == 1 || channels == 3) {
                "expected 1 channel (grey) or 3 (RGB), got $channels"
            }
            for ((name, only) in listOf("channel_order" to "RGB", "orientation" to "applied")) {
                expect((fields.textOrNull(name) ?: only) == only) {
                    "expected preprocess.$name '$only': this app knows no other"
                }
            }
            val (mean, std) = listOf("mean", "std").map { name ->
                fields.listOrNull(name) { (it as? Number)?.toDouble() }
            }
            expect((mean == null) == (std == null)) {
                "expected mean and std together, got one of them"
            }
            expect(listOfNotNull(mean, std).all { it.size == 3 } && std?.contains(0.0) != true) {
                "expected three numbers in preprocess.mean and std, and no std of 0"
            }
            return PreprocessSpec(
                side,
                fields.choice("fit"),
                fields.choice("resize"),
                mean,
                std,
                width,
                channels,
                fields.choiceOrNull<Layout>("layout") { it.name } ?: Layout.NHWC,
            )
        }

        private fun operatingPoint(fields: Fields): OperatingPoint {
            val low = fields.number("negative_below")
            val high = fields.number("positive_from")
            expect(0 <= low && low <= high && high <= 1) {
                "expected 0 <= negative_below <= positive_from <= 1, got $low and $high"
            }
            return OperatingPoint(fields.text("positive"), low, high)
        }

        private fun screening(fields: Fields): Screening {
            val threshold = fields.number("unfamiliarity_threshold")
            expect(threshold >= 0) {
                "expected card.screening.unfamiliarity_threshold from 0 up, got $threshold"
            }
            return Screening(threshold, fields.truth("activation_map"))
        }

        private fun goldenCheck(fields: Fields) = GoldenCheck(
            pattern = fields.integer("pattern"),
            digest = fields.text("digest"),
            scores = fields.list("scores") { (it as? Number)?.toDouble() },
            tolerance = fields.number("tolerance"),
        )

        // Free-form in the card, so that what is not as expected is left out, not refused.
        private fun accuracy(fields: Fields): Measured? = try {
            val (low, high) = fields.list("interval_95") { (it as? Number)?.toDouble() }
            Measured(fields.number("accuracy"), fields.integer("n"), low, high)
        } catch (error: ClassifierException) {
            null
        } catch (error: IndexOutOfBoundsException) {
            null
        }
    }
}

internal inline fun expect(condition: Boolean, message: () -> String) {
    if (!condition) throw ClassifierException(message())
}

/** Typed access to a JSON object; org.json's own would turn text into numbers. */
private class Fields(private val where: String, private val data: JSONObject) {
    private fun found(name: String): Any? = data.opt(name).takeUnless { it == JSONObject.NULL }

    private fun <T : Any> required(name: String, kind: String, value: T?): T =
        value ?: throw ClassifierException("expected $where.$name to be $kind, got ${found(name)}")

    fun textOrNull(name: String): String? = found(name)?.let { text(name) }

    fun text(name: String): String = required(name, "text", found(name) as? String)

    fun numberOrNull(name: String): Double? = found(name)?.let { number(name) }

    fun number(name: String): Double {
        val value = (found(name) as? Number)?.toDouble()?.takeIf { it.isFinite() }
        return required(name, "a number", value)
    }

    fun integerOrNull(name: String): Int? = found(name)?.let { integer(name) }

    fun integer(name: String): Int = required(name, "a whole number", found(name) as? Int)

    fun truth(name: String): Boolean = required(name, "true or false", found(name) as? Boolean)

    inline fun <reified T : Enum<T>> choice(
        name: String,
        spelling: (T) -> String = { it.name.lowercase() },
    ): T {
        val value = text(name)
        val valid = enumValues<T>().associateBy(spelling)
        return required(name, "one of ${valid.keys.joinToString()}", valid[value])
    }

    inline fun <reified T : Enum<T>> choiceOrNull(
        name: String,
        spelling: (T) -> String = { it.name.lowercase() },
    ): T? = textOrNull(name)?.let { choice(name, spelling) }

    fun child(name: String): Fields? = found(name)?.let { childOrThrow(name) }

    fun childOrThrow(name: String): Fields =
        Fields("$where.$name", required(name, "an object", found(name) as? JSONObject))

    fun children(name: String): List<Fields> =
        listOrNull(name) { it as? JSONObject }.orEmpty().map { Fields("$where.$name", it) }

    fun <T : Any> listOrNull(name: String, item: (Any) -> T?): List<T>? =
        found(name)?.let { list(name, item) }

    fun <T : Any> list(name: String, item: (Any) -> T?): List<T> {
        val array = required(name, "a list", found(name) as? JSONArray)
        return List(array.length()) { index ->
            item(array.get(index))
                ?: throw ClassifierException("expected $where.$name without ${array.get(index)}")
        }
    }
}
