package mobilenetkit.demo

import android.content.res.ColorStateList
import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.ProgressBar
import android.widget.TextView
import mobilenetkit.classifier.Category

/** The words and the bars under, or beside, the picture. */
class AnswerPanel(root: View) {
    private val headline: TextView = root.findViewById(R.id.headline)
    private val detail: TextView = root.findViewById(R.id.detail)
    private val bars: ViewGroup = root.findViewById(R.id.bars)

    fun show(text: AnswerText, categories: List<Category>, isSure: Boolean) {
        // Set when it changes only: TalkBack reads it each time.
        if (headline.text.toString() != text.headline) headline.text = text.headline
        headline.setTextColor(headline.context.getColor(text.colour))
        detail.text = text.detail
        detail.visibility = if (text.detail.isEmpty()) View.GONE else View.VISIBLE
        while (bars.childCount < categories.size) {
            LayoutInflater.from(bars.context).inflate(R.layout.bar_row, bars)
        }
        for (i in 0 until bars.childCount) {
            val row = bars.getChildAt(i)
            val category = categories.getOrNull(i)
            row.visibility = if (category == null) View.GONE else View.VISIBLE
            category?.let { fill(row, it, if (isSure && i == 0) R.color.accent else R.color.muted) }
        }
    }

    private fun fill(row: View, category: Category, colour: Int) {
        val percent = percent(category.score)
        row.findViewById<TextView>(R.id.label).text = category.label
        row.findViewById<TextView>(R.id.score).text = row.context.getString(R.string.score, percent)
        row.contentDescription =
            row.context.getString(R.string.score_description, category.label, percent)
        row.findViewById<ProgressBar>(R.id.bar).apply {
            progressTintList = ColorStateList.valueOf(context.getColor(colour))
            progress = (category.score * max).toInt()
        }
    }
}
