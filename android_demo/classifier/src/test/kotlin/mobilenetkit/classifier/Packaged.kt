package mobilenetkit.classifier

import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream

/** The least that passes for a model; no interpreter takes it. */
val flatbuffer = byteArrayOf(28, 0, 0, 0) + "TFL3".toByteArray() + ByteArray(40)

/** As kit/model_file.py does: stored entries whose offsets count from the file's first byte. */
fun packaged(vararg files: Pair<String, String>): ByteArray {
    val bytes = ByteArrayOutputStream()
    bytes.write(flatbuffer)
    ZipOutputStream(bytes).use { zip ->
        zip.setMethod(ZipOutputStream.STORED)
        for ((name, text) in files) {
            val content = text.toByteArray()
            zip.putNextEntry(
                ZipEntry(name).apply {
                    size = content.size.toLong()
                    crc = CRC32().apply { update(content) }.value
                },
            )
            zip.write(content)
        }
    }
    return moved(bytes.toByteArray())
}

private fun moved(file: ByteArray): ByteArray {
    val buffer = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN)
    val end = file.size - 22
    var header = buffer.getInt(end + 16) + flatbuffer.size
    buffer.putInt(end + 16, header)
    repeat(buffer.getShort(end + 10).toInt()) {
        buffer.putInt(header + 42, buffer.getInt(header + 42) + flatbuffer.size)
        header += 46 + listOf(28, 30, 32).sumOf { buffer.getShort(header + it).toInt() }
    }
    return file
}
