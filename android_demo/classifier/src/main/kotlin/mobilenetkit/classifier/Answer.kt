package mobilenetkit.classifier

import kotlin.math.exp

/** One possible answer. */
data class Category(val index: Int, val label: String, val score: Float)

/** What the operating point says. */
enum class Decision { POSITIVE, NEGATIVE, UNCERTAIN, UNKNOWN }

/**
 * What a model says of one image.
 *
 * @property categories best first; none where all are below the card's score threshold.
 * @property decision null where the card has no operating point.
 * @property positiveScore that the decision was made by; null where the card has no operating point.
 * @property unknown whether the image is unlike those of the training; its categories are then only
 *   the nearest. Null where the file has no such output.
 */
data class Answer(
    val categories: List<Category>,
    val decision: Decision?,
    val positiveScore: Float?,
    val unknown: Boolean?,
)

/**
 * What a model gave as scores, one for each label, as kit/model/output.py does.
 *
 * @param row the output, dequantised.
 */
fun toScores(row: FloatArray, kind: OutputKind): FloatArray = when (kind) {
    OutputKind.SCORES, OutputKind.INDEPENDENT_SCORES -> row
    OutputKind.LOGITS -> softmax(row)
    OutputKind.PROBABILITY -> floatArrayOf((1.0 - row[0]).toFloat(), row[0])
    OutputKind.LOGIT -> softmax(floatArrayOf(0f, row[0]))
}

private fun softmax(logits: FloatArray): FloatArray {
    val most = logits.max().toDouble()
    val powers = logits.map { exp(it - most) }
    val sum = powers.sum()
    return FloatArray(logits.size) { (powers[it] / sum).toFloat() }
}

/**
 * Scores to an answer, as kit/runtime/classifier.py does.
 *
 * @param scores one for each label.
 * @param unfamiliarity of a screening model; null of a plain one.
 * @param topK how many categories there are at most.
 */
fun answer(card: ModelCard, scores: FloatArray, unfamiliarity: Float?, topK: Int): Answer {
    val threshold = card.scoreThreshold ?: 0.0
    val categories = scores.indices
        .filter { scores[it] >= threshold }
        .sortedByDescending { scores[it] + 0f } // + 0: equal scores keep the order, -0 and 0 too
        .take(topK)
        .map { Category(it, card.labels[it], scores[it]) }
    val unknown = card.screening?.let { screening ->
        // Also where it is no number, as after an overflow.
        unfamiliarity?.let { !(it <= screening.unfamiliarityThreshold) }
    }
    val point = card.operatingPoint
    val positiveScore = point?.let { scores[card.labels.indexOf(it.positive)] }
    val decision = when {
        point == null || positiveScore == null -> null
        unknown == true -> Decision.UNKNOWN
        positiveScore >= point.positiveFrom -> Decision.POSITIVE
        positiveScore < point.negativeBelow -> Decision.NEGATIVE
        else -> Decision.UNCERTAIN
    }
    return Answer(categories, decision, positiveScore, unknown)
}
