package mobilenetkit.demo

import android.content.Context
import android.net.Uri
import android.system.ErrnoException
import android.system.OsConstants
import java.io.File
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import mobilenetkit.classifier.ClassifierException
import mobilenetkit.classifier.sha256

/** Where the model is: one that was opened on the phone, else the one that was built in. */
class ModelStore(private val context: Context) {
    private val opened = File(context.filesDir, "opened.tflite")

    /** SHA-256 of the built-in model when that one was opened; empty where there was none. */
    private val replaced = File(context.filesDir, "replaced.sha256")

    /** Whether the model in use was opened on the phone, and there is a built-in one. */
    val mayGoBack: Boolean get() = opened.exists() && ASSET in context.assets.list("").orEmpty()

    /** The whole file, mapped; null where there is none yet. */
    fun content(): ByteBuffer? = if (opened.exists()) map(opened) else builtIn()

    /** Goes back to a built-in model that is another than when the one in use was opened; did it? */
    fun goBackToNewBuiltIn(): Boolean {
        val isNew = mayGoBack && !(replaced.exists() && replaced.readText() == builtInDigest())
        if (isNew) backToBuiltIn()
        return isNew
    }

    private fun builtInDigest() = builtIn()?.let(::sha256).orEmpty()

    private fun builtIn(): ByteBuffer? = try {
        context.assets.openFd(ASSET).use { asset ->
            asset.createInputStream().use {
                it.channel.map(FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.length)
            }
        }
    } catch (error: FileNotFoundException) {
        // Also for an asset that the packager compressed, which cannot be mapped.
        if (ASSET in context.assets.list("").orEmpty()) {
            throw ClassifierException("expected an uncompressed model in the app: build it again")
        }
        null
    }

    private fun map(file: File): ByteBuffer = FileInputStream(file).use {
        it.channel.map(FileChannel.MapMode.READ_ONLY, 0, it.channel.size())
    }

    /**
     * Takes over a model file, if [check] lets it through; else the one before stays.
     *
     * @throws ClassifierException it cannot be read, there is no room, or what [check] throws.
     */
    fun open(uri: Uri, check: (ByteBuffer) -> Unit) {
        val source = try {
            context.contentResolver.openInputStream(uri)
        } catch (error: IOException) {
            null
        } catch (error: SecurityException) {
            null
        } ?: throw ClassifierException(context.getString(R.string.not_readable))
        val beside = File(context.filesDir, "opened.partial")
        try {
            source.use { copy(it, beside) }
            check(map(beside))
            replaced.writeText(builtInDigest())
            if (!beside.renameTo(opened)) throw IOException("rename")
        } catch (error: IOException) {
            throw ClassifierException(told(error, beside), error)
        } finally {
            beside.delete()
        }
    }

    fun backToBuiltIn() {
        opened.delete()
    }

    private fun copy(source: InputStream, target: File) = target.outputStream().use {
        source.copyTo(it)
        it.fd.sync()
    }

    private fun told(error: IOException, written: File): String {
        val full = (error.cause as? ErrnoException)?.errno == OsConstants.ENOSPC
        return if (full) {
            context.getString(R.string.no_space, sizeText(context, written.length()))
        } else {
            context.getString(R.string.not_readable)
        }
    }

    companion object {
        /** As kit/deploy/android.py puts it in. */
        const val ASSET = "model.tflite"
    }
}
