package mobilenetkit.classifier

import java.io.IOException
import java.io.InputStream
import java.nio.BufferUnderflowException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipInputStream

/**
 * A .tflite file: the model, and the card in the zip archive that is appended to it.
 *
 * @property content the whole file, a direct buffer, as interpreters take it.
 */
class ModelFile private constructor(val content: ByteBuffer, val card: ModelCard) {
    companion object {
        private const val CARD_NAME = "kit.json"
        private const val MOST_CARD_BYTES = 4 shl 20 // far above any card; more is no card

        /**
         * @param content a direct buffer from the file's first byte to its last.
         * @throws ClassifierException it is no TensorFlow Lite model, has no card, or is damaged.
         */
        fun read(content: ByteBuffer): ModelFile {
            val file = content.duplicate().order(ByteOrder.LITTLE_ENDIAN)
            expect(file.limit() >= 16 && file.getInt(4) == 0x334C4654) { // "TFL3"
                "expected a .tflite model, got another kind of file"
            }
            val card = try {
                readEntry(file, CARD_NAME)
            } catch (error: IOException) {
                throw damaged(error)
            } catch (error: BufferUnderflowException) {
                throw damaged(error)
            } catch (error: IndexOutOfBoundsException) {
                throw damaged(error)
            } catch (error: IllegalArgumentException) {
                throw damaged(error)
            }
            expect(card != null) {
                "expected a model with a card (kit.json), this file has none: " +
                    "make it with kit train or kit convert"
            }
            val parsed = ModelCard.parse(card!!.toString(Charsets.UTF_8))
            expect(parsed.modelSha256.isEmpty() || parsed.modelSha256 == digest(file)) {
                "expected a model as it was made, by the digest in its card, got one that was " +
                    "changed: copy the file again"
            }
            return ModelFile(content, parsed)
        }

        /** SHA-256 of all that stands before the archive, in hexadecimal. */
        private fun digest(file: ByteBuffer): String {
            val model = file.duplicate()
            model.position(0)
            model.limit(archiveStart(file)!!)
            return sha256(model)
        }

        private fun damaged(cause: Exception) = ClassifierException(
            "expected a sound zip archive behind the model, got a damaged one: copy it again",
            cause,
        )

        private fun readEntry(file: ByteBuffer, name: String): ByteArray? {
            val start = archiveStart(file) ?: return null
            val archive = file.duplicate()
            archive.position(start)
            ZipInputStream(BufferStream(archive)).use { stream ->
                while (true) {
                    val entry = stream.nextEntry ?: return null
                    if (entry.name != name) continue
                    val content = ByteArray(MOST_CARD_BYTES)
                    var size = 0
                    while (size < content.size) {
                        val more = stream.read(content, size, content.size - size)
                        if (more < 0) return content.copyOf(size)
                        size += more
                    }
                    throw IOException("$name has $size bytes or more")
                }
            }
        }

        /** Where the first entry begins; ZipInputStream wants to be put there. PKWARE APPNOTE 4.3. */
        private fun archiveStart(file: ByteBuffer): Int? {
            val last = file.limit() - 22
            val end = (last downTo maxOf(0, last - 0xFFFF)).find { file.getInt(it) == 0x06054B50 }
                ?: return null
            var header = file.getInt(end + 16)
            val entries = file.getShort(end + 10).toInt() and 0xFFFF
            return (1..entries).minOfOrNull {
                if (file.getInt(header) != 0x02014B50) throw IOException("no entry at $header")
                val first = file.getInt(header + 42)
                val lengths = listOf(28, 30, 32).sumOf { file.getShort(header + it).toInt() and 0xFFFF }
                header += 46 + lengths
                first
            }
        }
    }
}

private class BufferStream(private val buffer: ByteBuffer) : InputStream() {
    override fun read(): Int = if (buffer.hasRemaining()) buffer.get().toInt() and 0xFF else -1

    override fun read(bytes: ByteArray, offset: Int, length: Int): Int {
        if (!buffer.hasRemaining()) return if (length == 0) 0 else -1
        return minOf(length, buffer.remaining()).also { buffer.get(bytes, offset, it) }
    }
}
