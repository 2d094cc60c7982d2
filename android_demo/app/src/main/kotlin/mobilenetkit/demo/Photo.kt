package mobilenetkit.demo

import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.ImageDecoder
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import android.os.Build
import java.io.IOException
import java.io.InputStream
import mobilenetkit.classifier.ClassifierException
import mobilenetkit.classifier.Pixels
import mobilenetkit.classifier.jpegScale

/** Of what is shown, both sides stay at least this, where they are: sharp on the screen, little memory. */
private const val SHORT_SIDE = 1024

/** 64 MB, whatever its sides: Android draws no bitmap above 100 MB, as a long screenshot can be. */
private const val MOST_PIXELS = 1L shl 24

/** What the screen shows of a photo, and what the model sees of it. */
class Photo(val shown: Bitmap, val seen: Pixels)

/**
 * Decodes a photo, upright and over white, at a smaller scale where it is large.
 *
 * @param longerSide of the model's input.
 * @throws ClassifierException it is no image, is damaged, or does not fit in memory.
 */
fun readPhoto(context: Context, uri: Uri, longerSide: Int): Photo {
    try {
        val file = ImageFile(context, uri)
        val (width, height) = file.width to file.height
        if (file.type != "image/jpeg") {
            val whole = overWhite(file.decoded(fittingScale(width, height, 1)))
            return Photo(whole, pixelsOf(whole))
        }
        val shown = overWhite(file.decoded(shownScale(width, height)))
        // By BitmapFactory, which has libjpeg scale it as Python does; ImageDecoder halves an odd side
        // in another way. But it is the one that refuses a JPEG that is cut off.
        val seen = overWhite(file.sampled(seenScale(width, height, longerSide)))
        return Photo(shown, pixelsOf(seen))
    } catch (error: IOException) {
        throw ClassifierException(context.getString(R.string.not_decoded), error)
    } catch (error: SecurityException) {
        throw ClassifierException(context.getString(R.string.not_readable), error)
    } catch (error: OutOfMemoryError) {
        throw ClassifierException(context.getString(R.string.too_large), error)
    }
}

/** By how much a JPEG is decoded for the model: as Python does, or more where the memory takes less. */
internal fun seenScale(width: Int, height: Int, longerSide: Int): Int =
    fittingScale(width, height, jpegScale(height, width, longerSide))

internal fun shownScale(width: Int, height: Int): Int {
    var scale = 1
    while (minOf(width, height) / (scale * 2) >= SHORT_SIDE) scale *= 2
    return fittingScale(width, height, scale)
}

internal fun fittingScale(width: Int, height: Int, least: Int): Int {
    var scale = least
    while ((width / scale).toLong() * (height / scale) > MOST_PIXELS) scale *= 2
    return scale
}

/** @property type as MIME has it. */
private class ImageFile(private val context: Context, private val uri: Uri) {
    val width: Int
    val height: Int
    val type: String

    init {
        val options = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        read { BitmapFactory.decodeStream(it, null, options) }
        type = options.outMimeType ?: throw IOException("no image")
        width = options.outWidth
        height = options.outHeight
    }

    private fun <T> read(use: (InputStream) -> T): T =
        (context.contentResolver.openInputStream(uri) ?: throw IOException("no stream")).use(use)

    /** Upright, both sides divided by [scale]. */
    fun decoded(scale: Int): Bitmap {
        if (Build.VERSION.SDK_INT < 28) return sampled(scale)
        val source = ImageDecoder.createSource(context.contentResolver, uri)
        return ImageDecoder.decodeBitmap(source) { decoder, _, _ ->
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
            decoder.setTargetSampleSize(scale)
        }
    }

    /** The same, by BitmapFactory. */
    fun sampled(scale: Int): Bitmap {
        val options = BitmapFactory.Options().apply { inSampleSize = scale }
        val decoded = read { BitmapFactory.decodeStream(it, null, options) } ?: throw IOException("no image")
        val orientation = read {
            ExifInterface(it).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
        }
        val upright = Matrix().apply {
            if (orientation in setOf(2, 5, 7)) postScale(-1f, 1f)
            if (orientation == 4) postScale(1f, -1f)
            postRotate(
                when (orientation) {
                    3 -> 180f
                    5, 8 -> 270f
                    6, 7 -> 90f
                    else -> 0f
                },
            )
        }
        return Bitmap.createBitmap(decoded, 0, 0, decoded.width, decoded.height, upright, true)
    }
}

private fun overWhite(bitmap: Bitmap): Bitmap {
    if (!bitmap.hasAlpha() && bitmap.config == Bitmap.Config.ARGB_8888) return bitmap
    return Bitmap.createBitmap(bitmap.width, bitmap.height, Bitmap.Config.ARGB_8888).also {
        Canvas(it).apply { drawColor(Color.WHITE) }.drawBitmap(bitmap, 0f, 0f, null)
    }
}

/** The bitmap's pixels in sRGB, whatever colour space and byte order it is held in. */
fun pixelsOf(bitmap: Bitmap): Pixels {
    val argb = IntArray(bitmap.width * bitmap.height)
    bitmap.getPixels(argb, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
    return Pixels.fromArgb(bitmap.height, bitmap.width, argb)
}
