package mobilenetkit.demo

import android.content.Context
import kotlin.math.floor
import kotlin.math.pow
import mobilenetkit.classifier.Answer
import mobilenetkit.classifier.Decision
import mobilenetkit.classifier.ModelCard

/** An answer in words. */
class AnswerText(val headline: String, val detail: String, val colour: Int)

fun answerText(context: Context, answer: Answer, card: ModelCard): AnswerText {
    val best = answer.categories.firstOrNull()
    val point = card.operatingPoint
    val (own, low, high) = percents(
        answer.positiveScore ?: 0f,
        point?.negativeBelow ?: 0f,
        point?.positiveFrom ?: 0f,
    )
    fun text(id: Int, vararg values: Any) = context.getString(id, *values)
    return when {
        answer.unknown == true -> AnswerText(
            text(R.string.unknown),
            best?.let { text(R.string.unknown_detail, it.label, percent(it.score)) }
                ?: text(R.string.unknown_detail_none),
            R.color.unknown,
        )
        point != null && answer.decision == Decision.POSITIVE -> AnswerText(
            text(R.string.positive, point.positive),
            text(R.string.positive_detail, high, own),
            R.color.accent,
        )
        point != null && answer.decision == Decision.NEGATIVE -> AnswerText(
            text(R.string.negative, point.positive),
            text(R.string.negative_detail, low, own),
            R.color.accent,
        )
        point != null && answer.decision == Decision.UNCERTAIN -> AnswerText(
            text(R.string.uncertain),
            text(R.string.uncertain_detail, point.positive, own, low, high),
            R.color.uncertain,
        )
        best == null -> AnswerText(
            text(R.string.not_sure),
            text(R.string.not_sure_detail, percent(card.scoreThreshold ?: 0.0)),
            R.color.uncertain,
        )
        else -> AnswerText(best.label, text(R.string.best_detail, percent(best.score)), R.color.accent)
    }
}

/**
 * Shares as percent, cut and not rounded, so that none is shown as more than it is; with as many
 * decimals as it takes for different ones to look different, and none but 0 like 0.
 */
fun percents(vararg shares: Number): List<String> {
    val exact = shares.map { it.toDouble() }
    fun cut(decimals: Int): List<Double> {
        val parts = 10.0.pow(decimals)
        return exact.map { floor(it * 100 * parts + 1e-6) / parts }
    }
    val decimals = (0..3).find { decimals ->
        val shown = cut(decimals)
        val looksLikeNone = shown.indices.any { shown[it] == 0.0 && exact[it] != 0.0 }
        shown.toSet().size == exact.toSet().size && !looksLikeNone
    } ?: 4
    return cut(decimals).map { "%.${decimals}f".format(it) }
}

fun percent(share: Number): String = percents(share).single()
