package mobilenetkit.demo

import android.content.Context
import android.text.format.Formatter
import mobilenetkit.classifier.CheckResult
import mobilenetkit.classifier.ModelCard

/** What the card says, for people: one fact a paragraph. */
fun factsOf(context: Context, card: ModelCard, sizeBytes: Int): String {
    fun text(id: Int, vararg values: Any) = context.getString(id, *values)
    val network = card.alpha?.let { text(R.string.facts_alpha, card.backbone, it) } ?: card.backbone
    return listOfNotNull(
        text(R.string.facts_network, network, card.preprocess.size, card.quantization),
        text(R.string.facts_size, sizeText(context, sizeBytes.toLong())),
        text(R.string.facts_labels, card.labels.size, shortened(card.labels)),
        card.accuracy?.let {
            val (value, low, high) = listOf(it.value, it.low, it.high).map { share -> share * 100 }
            text(R.string.facts_accuracy, value, it.images, low, high)
        },
        card.screening?.let { text(R.string.facts_unknown) },
        card.scoreThreshold?.let { text(R.string.facts_threshold, percent(it)) },
        card.operatingPoint?.let {
            val (low, high) = percents(it.negativeBelow, it.positiveFrom)
            text(R.string.facts_point, it.positive, low, high)
        },
        card.intendedUse.takeIf { it.isNotBlank() }?.let { text(R.string.facts_use, it) },
        card.created.takeIf { it.isNotBlank() }?.let { text(R.string.facts_created, it.take(10)) },
    ).joinToString("\n\n")
}

fun selfTestText(context: Context, results: List<CheckResult>?): String = when {
    results == null -> context.getString(R.string.self_test_failed, Double.NaN)
    results.isEmpty() -> context.getString(R.string.self_test_none)
    else -> {
        val passed = results.all { it.passed }
        val said = if (passed) R.string.self_test_passed else R.string.self_test_failed
        context.getString(said, results.maxOf { it.difference })
    }
}

fun sizeText(context: Context, sizeBytes: Long): String = Formatter.formatFileSize(context, sizeBytes)

private fun shortened(labels: List<String>): String {
    val shown = labels.take(20).joinToString()
    return if (labels.size > 20) "$shown, …" else shown
}
