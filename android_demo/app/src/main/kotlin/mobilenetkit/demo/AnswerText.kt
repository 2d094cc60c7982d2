package mobilenetkit.demo

import android.content.Context
import kotlin.math.floor
import mobilenetkit.classifier.Answer
import mobilenetkit.classifier.Decision
import mobilenetkit.classifier.ModelCard

/** An answer in words. */
class AnswerText(val headline: String, val detail: String, val colour: Int)

fun answerText(context: Context, answer: Answer, card: ModelCard): AnswerText {
    val best = answer.categories.firstOrNull()
    val point = card.operatingPoint
    val own = answer.positiveScore ?: 0f
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
            text(R.string.positive_detail, percent(point.positiveFrom), percent(own)),
            R.color.accent,
        )
        point != null && answer.decision == Decision.NEGATIVE -> AnswerText(
            text(R.string.negative, point.positive),
            text(R.string.negative_detail, percent(point.negativeBelow), percent(own)),
            R.color.accent,
        )
        point != null && answer.decision == Decision.UNCERTAIN -> AnswerText(
            text(R.string.uncertain),
            text(
                R.string.uncertain_detail,
                point.positive,
                percent(own),
                percent(point.negativeBelow),
                percent(point.positiveFrom),
            ),
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

/** Whole percent, never up to 100 for less. */
fun percent(score: Number): Int = floor(score.toDouble() * 100 + 1e-6).toInt()
