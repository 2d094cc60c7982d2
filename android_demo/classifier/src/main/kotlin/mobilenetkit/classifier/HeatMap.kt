package mobilenetkit.classifier

import kotlin.math.roundToInt

/**
 * Where a model looked: what each place adds to a label's logit.
 *
 * @property shares `[rows, columns]`, of the strongest place, 0 to 1.
 */
class HeatMap(val rows: Int, val columns: Int, val shares: FloatArray) {
    /** One colour a place, as Android's bitmaps take them: the stronger, the brighter and denser. */
    fun argb(): IntArray = IntArray(shares.size) { colour(shares[it]) }

    companion object {
        private const val OPACITY = 0.65f // the photograph is to be seen beneath

        /** As in kit/runtime/explain.py: brighter all the way, so that it reads in grey too. */
        private val RAMP = listOf(
            listOf(0, 0, 0),
            listOf(110, 0, 120),
            listOf(220, 40, 50),
            listOf(255, 160, 0),
            listOf(255, 255, 120),
        )

        /** @param values `[rows, columns, labels]`, the activation map of all labels. */
        fun of(values: FloatArray, rows: Int, columns: Int, label: Int): HeatMap {
            val labels = values.size / (rows * columns)
            val own = FloatArray(rows * columns) { values[it * labels + label] }
            val strongest = own.filterNot { it.isNaN() }.maxOrNull() ?: 0f
            val shares = FloatArray(own.size) {
                if (strongest > 0 && own[it] > 0) own[it] / strongest else 0f
            }
            return HeatMap(rows, columns, shares)
        }

        private fun colour(share: Float): Int {
            val place = share * (RAMP.size - 1)
            val step = place.toInt().coerceAtMost(RAMP.size - 2)
            val (red, green, blue) = List(3) { channel ->
                val low = RAMP[step][channel]
                (low + (place - step) * (RAMP[step + 1][channel] - low)).roundToInt()
            }
            val alpha = (255 * OPACITY * share).roundToInt()
            return (alpha shl 24) or (red shl 16) or (green shl 8) or blue
        }
    }
}
