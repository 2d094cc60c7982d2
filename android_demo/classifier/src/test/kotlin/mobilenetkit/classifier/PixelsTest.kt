package mobilenetkit.classifier

import java.nio.ByteBuffer
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

class PixelsTest {
    private fun numbered(height: Int, width: Int) =
        Pixels(height, width, ByteArray(height * width * 3) { (it / 3 * 4 + it % 3).toByte() })

    private fun firsts(pixels: Pixels) = pixels.rgb.filterIndexed { i, _ -> i % 3 == 0 }.map { it / 4 }

    @Test
    fun turns() {
        val image = numbered(2, 3) // 0 1 2 / 3 4 5
        assertEquals(listOf(3, 0, 4, 1, 5, 2), firsts(image.turned(90)))
        assertEquals(listOf(5, 4, 3, 2, 1, 0), firsts(image.turned(180)))
        assertEquals(listOf(2, 5, 1, 4, 0, 3), firsts(image.turned(270)))
        assertEquals(3 to 2, image.turned(90).let { it.height to it.width })
        assertArrayEquals(image.rgb, image.turned(90).turned(270).rgb)
        assertArrayEquals(image.rgb, image.turned(180).turned(180).rgb)
    }

    @Test
    fun argb() {
        val pixels = Pixels.fromArgb(1, 2, intArrayOf(0x017FFF, 0xFFFE0203.toInt()))
        assertArrayEquals(byteArrayOf(1, 127, -1, -2, 2, 3), pixels.rgb)
    }

    @Test
    fun jpegScales() {
        for (case in Golden.cases("jpeg_scales.json")) {
            val found = jpegScale(case.getInt("height"), case.getInt("width"), case.getInt("longer_side"))
            assertEquals("$case", case.getInt("scale"), found)
        }
    }

    /** JFIF 1.02 in floating point, for every colour on a grid. */
    @Test
    fun yuv() {
        val steps = (0..255 step 15).toList()
        for (u in steps) for (v in steps) {
            val luma = steps.flatMap { listOf(it, it) }
            val plane = { values: List<Int> -> ByteBuffer.wrap(values.map { it.toByte() }.toByteArray()) }
            val chroma = { value: Int -> Plane(plane(List(steps.size * 2) { value }), steps.size * 2, 2) }
            val pixels = Pixels.fromYuv(
                2,
                steps.size,
                Plane(plane(steps + listOf(0, 0) + steps), steps.size + 2, 1),
                chroma(u) to chroma(v),
            )
            assertEquals(luma.size * 3, pixels.rgb.size)
            for (i in pixels.rgb.indices) {
                val y = steps[i / 3 % steps.size]
                val real = when (i % 3) {
                    0 -> y + 1.402 * (v - 128)
                    1 -> y - 0.344136 * (u - 128) - 0.714136 * (v - 128)
                    else -> y + 1.772 * (u - 128)
                }
                assertEquals(real.coerceIn(0.0, 255.0), (pixels.rgb[i].toInt() and 0xFF).toDouble(), 0.51)
            }
        }
    }
}
