package mobilenetkit.classifier

import java.nio.ByteBuffer

/**
 * An upright image.
 *
 * @property rgb `[height, width, 3]`, 0 to 255 as unsigned bytes.
 */
class Pixels(val height: Int, val width: Int, val rgb: ByteArray) {
    init {
        require(height > 0 && width > 0 && rgb.size == height * width * 3) {
            "expected RGB pixels [$height, $width, 3], got ${rgb.size} bytes"
        }
    }

    /** Turned clockwise by 0, 90, 180 or 270 degrees. */
    fun turned(degrees: Int): Pixels {
        if (degrees == 0) return this
        val (rows, columns) = if (degrees == 180) height to width else width to height
        val out = ByteArray(rgb.size)
        var target = 0
        for (y in 0 until rows) {
            for (x in 0 until columns) {
                val source = 3 * when (degrees) {
                    90 -> (height - 1 - x) * width + y
                    180 -> (height - 1 - y) * width + width - 1 - x
                    else -> x * width + width - 1 - y
                }
                repeat(3) { out[target++] = rgb[source + it] }
            }
        }
        return Pixels(rows, columns, out)
    }

    companion object {
        /** @param argb one integer a pixel, as Android's bitmaps give them; alpha is left out. */
        fun fromArgb(height: Int, width: Int, argb: IntArray): Pixels {
            val rgb = ByteArray(height * width * 3) { (argb[it / 3] shr (16 - it % 3 * 8)).toByte() }
            return Pixels(height, width, rgb)
        }

        /**
         * A camera's frame, YUV 4:2:0 of BT.601 with the full range, as JFIF and Android have it.
         *
         * @param chroma planes U and V, both of half the width and height.
         */
        fun fromYuv(height: Int, width: Int, luma: Plane, chroma: Pair<Plane, Plane>): Pixels {
            val (uPlane, vPlane) = chroma
            val rgb = ByteArray(height * width * 3)
            var target = 0
            for (row in 0 until height) {
                for (column in 0 until width) {
                    val y = luma.at(row, column)
                    val u = uPlane.at(row / 2, column / 2) - 128
                    val v = vPlane.at(row / 2, column / 2) - 128
                    // The factors of JFIF 1.02 in 65536ths, rounded.
                    rgb[target++] = level(y + ((91881 * v + 32768) shr 16))
                    rgb[target++] = level(y - ((22554 * u + 46802 * v + 32768) shr 16))
                    rgb[target++] = level(y + ((116130 * u + 32768) shr 16))
                }
            }
            return Pixels(height, width, rgb)
        }

        private fun level(value: Int): Byte = value.coerceIn(0, 255).toByte()
    }
}

/**
 * By how much Python's reader has a JPEG decoded smaller: by 8, 4 or 2, as long as both sides stay
 * twice the input's longer one; see `read_image` in kit/runtime/images.py.
 */
fun jpegScale(height: Int, width: Int, longerSide: Int): Int {
    val room = minOf(height, width) / (2 * longerSide)
    return listOf(8, 4, 2).find { room >= it } ?: 1
}

/** One plane of a camera's frame; the strides are those of Android's Image.Plane, in bytes. */
class Plane(buffer: ByteBuffer, private val rowStride: Int, private val pixelStride: Int) {
    private val bytes = ByteArray(buffer.remaining()).also { buffer.duplicate().get(it) }

    fun at(row: Int, column: Int): Int =
        bytes[row * rowStride + column * pixelStride].toInt() and 0xFF
}
