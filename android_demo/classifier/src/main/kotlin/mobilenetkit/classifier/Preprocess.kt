package mobilenetkit.classifier

import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import kotlin.math.floor

// docs/explanation/preprocessing.md, step by step; tests/golden/ says whether it is byte for byte.

private const val WEIGHT_SUM = 256

/** Which source positions one target position reads: from [first] on, with weights of sum 256. */
class Taps(val first: Int, val weights: IntArray)

/** For each of [target] positions what it reads of an axis of [source] pixels. */
fun filterTaps(source: Int, target: Int, resize: Resize): List<Taps> {
    val half = 2L * if (resize == Resize.ANTIALIAS) maxOf(source, target) else target
    return List(target) { i ->
        val centre = (2L * i + 1) * source
        val first = positionBefore(centre - half, target).plus(1).coerceIn(0, source - 1)
        val last = positionBefore(centre + half, target).coerceIn(0, source - 1)
        val triangle = LongArray(last - first + 1) { k ->
            maxOf(0L, half - abs((2L * (first + k) + 1) * target - centre))
        }
        val total = triangle.sum()
        var sum = 0L
        var before = 0L
        Taps(
            first,
            IntArray(triangle.size) { k ->
                sum += triangle[k]
                val running = (2 * WEIGHT_SUM * sum + total) / (2 * total)
                (running - before).toInt().also { before = running }
            },
        )
    }
}

/** The last source position at or before a place in units of 1 / (2 * target) pixels. */
private fun positionBefore(place: Long, target: Int): Int =
    Math.floorDiv(place - target, 2L * target).toInt()

/** Resizes an image: first columns to [height] rows, then rows to [width], rounding after each. */
fun resize(pixels: Pixels, height: Int, width: Int, method: Resize): Pixels {
    var image = pixels
    if (image.height != height) {
        val rowBytes = image.width * 3
        val out = ByteArray(height * rowBytes)
        filterTaps(image.height, height, method).forEachIndexed { row, taps ->
            for (i in 0 until rowBytes) {
                out[row * rowBytes + i] = blend(image.rgb, taps.first * rowBytes + i, rowBytes, taps)
            }
        }
        image = Pixels(height, image.width, out)
    }
    if (image.width != width) {
        val out = ByteArray(height * width * 3)
        val columns = filterTaps(image.width, width, method)
        for (row in 0 until height) {
            for (column in 0 until width) {
                val taps = columns[column]
                for (channel in 0 until 3) {
                    val source = (row * image.width + taps.first) * 3 + channel
                    out[(row * width + column) * 3 + channel] = blend(image.rgb, source, 3, taps)
                }
            }
        }
        image = Pixels(height, width, out)
    }
    return image
}

private fun blend(source: ByteArray, start: Int, step: Int, taps: Taps): Byte {
    var sum = WEIGHT_SUM / 2
    var position = start
    for (weight in taps.weights) {
        sum += weight * (source[position].toInt() and 0xFF)
        position += step
    }
    return (sum / WEIGHT_SUM).toByte()
}

/** The part of an image that a fit of [Fit.CROP] looks at: its centre, with the input's aspect. */
fun centreOf(pixels: Pixels, spec: PreprocessSpec): Pixels {
    val (rows, columns) = if (isWide(pixels, spec)) {
        pixels.height to rounded(pixels.height, spec.inputWidth, spec.inputResolution)
    } else {
        rounded(pixels.width, spec.inputResolution, spec.inputWidth) to pixels.width
    }
    val top = (pixels.height - rows) / 2
    val left = (pixels.width - columns) / 2
    val out = ByteArray(rows * columns * 3)
    for (row in 0 until rows) {
        val source = ((top + row) * pixels.width + left) * 3
        pixels.rgb.copyInto(out, row * columns * 3, source, source + columns * 3)
    }
    return Pixels(rows, columns, out)
}

private fun isWide(pixels: Pixels, spec: PreprocessSpec): Boolean =
    pixels.width.toLong() * spec.inputResolution >= pixels.height.toLong() * spec.inputWidth

/** `length * to / of`, halves up, at least 1. */
private fun rounded(length: Int, to: Int, of: Int): Int =
    maxOf(1, ((2L * length * to + of) / (2L * of)).toInt())

/** Luma of ITU-R BT.601 in each of three channels. */
private fun grey(pixels: Pixels): Pixels {
    val out = ByteArray(pixels.rgb.size)
    for (i in out.indices step 3) {
        val (red, green, blue) = List(3) { pixels.rgb[i + it].toInt() and 0xFF }
        val luma = (19595 * red + 38470 * green + 7471 * blue + 32768) shr 16
        for (channel in 0 until 3) out[i + channel] = luma.toByte()
    }
    return Pixels(pixels.height, pixels.width, out)
}

/**
 * Brings an image of any size to the input's, as the card's fit and resize say.
 *
 * @return of a grey input, three equal channels.
 */
fun fitPixels(pixels: Pixels, spec: PreprocessSpec): Pixels {
    val (height, width) = spec.inputResolution to spec.inputWidth
    val image = if (spec.channels == 1) grey(pixels) else pixels
    return when (spec.fit) {
        Fit.STRETCH -> resize(image, height, width, spec.resize)
        Fit.CROP -> resize(centreOf(image, spec), height, width, spec.resize)
        Fit.PAD -> padded(image, spec)
    }
}

private fun padded(image: Pixels, spec: PreprocessSpec): Pixels {
    val (height, width) = spec.inputResolution to spec.inputWidth
    val (rows, columns) = if (isWide(image, spec)) {
        rounded(image.height, width, image.width) to width
    } else {
        height to rounded(image.width, height, image.height)
    }
    val small = resize(image, rows, columns, spec.resize)
    val out = ByteArray(height * width * 3)
    val top = (height - rows) / 2
    val left = (width - columns) / 2
    for (row in 0 until rows) {
        val source = row * columns * 3
        val target = ((top + row) * width + left) * 3
        small.rgb.copyInto(out, target, source, source + columns * 3)
    }
    return Pixels(height, width, out)
}

/** Every position in [fitted]'s bytes that goes into the input tensor, in its order. */
private inline fun inOrder(fitted: Pixels, spec: PreprocessSpec, use: (Int) -> Unit) {
    val places = fitted.rgb.indices step 3
    val channels = 0 until spec.channels
    when (spec.layout) {
        Layout.NHWC -> for (place in places) for (channel in channels) use(place + channel)
        Layout.NCHW -> for (channel in channels) for (place in places) use(place + channel)
    }
}

/**
 * Pixels at the input's size to the bytes of the input tensor.
 *
 * @return a direct buffer in the processor's byte order, at its first byte.
 */
fun toTensor(fitted: Pixels, spec: PreprocessSpec, input: Tensor): ByteBuffer {
    val values = fitted.rgb.size / 3 * spec.channels
    val out = ByteBuffer.allocateDirect(values * input.dtype.bytes).order(ByteOrder.nativeOrder())
    if (input.dtype == Dtype.FLOAT32) {
        val tables = List(3) { channel -> FloatArray(256) { normalised(it, channel, spec) } }
        inOrder(fitted, spec) { out.putFloat(tables[it % 3][fitted.rgb[it].toInt() and 0xFF]) }
    } else {
        val tables = List(3) { channel ->
            ByteArray(256) { quantised(it, channel, spec, input).toByte() }
        }
        inOrder(fitted, spec) { out.put(tables[it % 3][fitted.rgb[it].toInt() and 0xFF]) }
    }
    out.rewind()
    return out
}

private fun normalised(level: Int, channel: Int, spec: PreprocessSpec): Float {
    if (spec.mean == null || spec.std == null) return level.toFloat()
    return (level.toFloat() - spec.mean[channel].toFloat()) / spec.std[channel].toFloat()
}

private fun quantised(level: Int, channel: Int, spec: PreprocessSpec, input: Tensor): Int {
    if (spec.mean == null || spec.std == null) {
        return if (input.dtype == Dtype.INT8) level - 128 else level
    }
    val quantization = input.quantization ?: Quantization(1.0, 0)
    return quantize((level - spec.mean[channel]) / spec.std[channel], quantization, input.dtype)
}

/** `round(value / scale) + zeroPoint`, halves away from zero, clamped to the type. */
fun quantize(value: Double, quantization: Quantization, dtype: Dtype): Int {
    val scaled = value / quantization.scale
    val rounded = Math.copySign(floor(abs(scaled) + 0.5), scaled) + quantization.zeroPoint
    return rounded.coerceIn(dtype.lowest.toDouble(), dtype.highest.toDouble()).toInt()
}
