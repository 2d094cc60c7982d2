package mobilenetkit.classifier

import java.nio.ByteBuffer
import java.security.MessageDigest
import kotlin.math.abs

/**
 * How one golden check of the card went on this device.
 *
 * @property samePixels whether preprocessing gave the very pixels.
 * @property difference largest of a score.
 */
data class CheckResult(val samePixels: Boolean, val difference: Double, val tolerance: Double) {
    val passed: Boolean get() = samePixels && difference <= tolerance
}

/** A coloured pattern from whole numbers alone, the same in every language. */
fun drawPattern(index: Int): Pixels {
    val (height, width) = 181 to 240
    val block = 14 * (index + 1)
    val rgb = ByteArray(height * width * 3) { i ->
        val (y, x, c) = Triple(i / 3 / width, i / 3 % width, i % 3)
        ((y / block * 59 + x / block * 37 + c * 83 + y * x / 64) % 256).toByte()
    }
    return Pixels(height, width, rgb)
}

/** Does this device compute what the model's maker computed? One result for each golden check. */
fun selfTest(classifier: Classifier): List<CheckResult> = classifier.card.golden.map { golden ->
    val fitted = fitPixels(drawPattern(golden.pattern), classifier.card.preprocess)
    val scores = classifier.scores(fitted)
    val difference = golden.scores.indices.maxOf { abs(scores[it] - golden.scores[it]) }
    CheckResult(sha256(ByteBuffer.wrap(fitted.rgb)) == golden.digest, difference, golden.tolerance)
}

/** In hexadecimal, of what remains in a buffer. */
fun sha256(content: ByteBuffer): String {
    val digest = MessageDigest.getInstance("SHA-256").apply { update(content) }.digest()
    return digest.joinToString("") { "%02x".format(it) }
}
