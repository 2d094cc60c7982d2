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
import mobilenetkit.classifier.ClassifierException
import mobilenetkit.classifier.Pixels

/** Both sides stay at least this, where they are: sharp on the screen, little memory. */
private const val SHORT_SIDE = 1024

/** 64 MB, whatever its sides: Android draws no bitmap above 100 MB, as a long screenshot can be. */
private const val MOST_PIXELS = 1L shl 24

/**
 * Decodes a photo, upright and over white, at a smaller scale where it is large.
 *
 * @throws ClassifierException it is no image, is damaged, or does not fit in memory.
 */
fun readPhoto(context: Context, uri: Uri, inputResolution: Int): Bitmap {
    val shortSide = maxOf(SHORT_SIDE, 2 * inputResolution)
    try {
        val decoded = if (Build.VERSION.SDK_INT >= 28) {
            decode(context, uri, shortSide)
        } else {
            decodeBefore28(context, uri, shortSide)
        }
        return overWhite(decoded ?: throw IOException("no image"))
    } catch (error: IOException) {
        throw ClassifierException(context.getString(R.string.not_decoded), error)
    } catch (error: SecurityException) {
        throw ClassifierException(context.getString(R.string.not_readable), error)
    } catch (error: OutOfMemoryError) {
        throw ClassifierException(context.getString(R.string.too_large), error)
    }
}

private fun decode(context: Context, uri: Uri, shortSide: Int): Bitmap =
    ImageDecoder.decodeBitmap(ImageDecoder.createSource(context.contentResolver, uri)) { decoder, info, _ ->
        decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
        decoder.setTargetSampleSize(sampleSize(info.size.width, info.size.height, shortSide))
    }

private fun decodeBefore28(context: Context, uri: Uri, shortSide: Int): Bitmap? {
    fun <T> read(use: (java.io.InputStream) -> T): T =
        (context.contentResolver.openInputStream(uri) ?: throw IOException("no stream")).use(use)

    val options = BitmapFactory.Options().apply { inJustDecodeBounds = true }
    read { BitmapFactory.decodeStream(it, null, options) }
    options.inJustDecodeBounds = false
    options.inSampleSize = sampleSize(options.outWidth, options.outHeight, shortSide)
    val decoded = read { BitmapFactory.decodeStream(it, null, options) } ?: return null
    val orientation = read {
        ExifInterface(it).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
    }
    val upright = Matrix().apply {
        if (orientation in setOf(2, 4, 5, 7)) postScale(if (orientation == 4) 1f else -1f, if (orientation == 4) -1f else 1f)
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

internal fun sampleSize(width: Int, height: Int, shortSide: Int): Int {
    var size = 1
    while (
        minOf(width, height) / (size * 2) >= shortSide ||
        (width / size).toLong() * (height / size) > MOST_PIXELS
    ) {
        size *= 2
    }
    return size
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
