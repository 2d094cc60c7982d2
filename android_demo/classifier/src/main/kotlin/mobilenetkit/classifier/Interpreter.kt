package mobilenetkit.classifier

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** A tensor's type; [lowest] and [highest] of the integers. */
enum class Dtype(val bytes: Int, val lowest: Int = 0, val highest: Int = 0) {
    FLOAT32(4),
    UINT8(1, 0, 255),
    INT8(1, -128, 127),
    INT16(2, -32768, 32767),
}

/** How integers stand for real values: `real = (integer - zeroPoint) * scale`. */
data class Quantization(val scale: Double, val zeroPoint: Int)

/**
 * An input or output of a model.
 *
 * @property shape with the batch axis.
 * @property quantization null for one that is not quantised.
 */
data class Tensor(
    val name: String,
    val shape: List<Int>,
    val dtype: Dtype,
    val quantization: Quantization? = null,
) {
    val size: Int get() = shape.fold(1) { product, length -> product * length }
}

/** What runs a model; so that nothing here needs to know which. Not for two threads at once. */
interface Interpreter : AutoCloseable {
    val inputs: List<Tensor>
    val outputs: List<Tensor>

    /**
     * One inference.
     *
     * @param input the bytes of the only input.
     * @param outputs one for each of [Interpreter.outputs], to be filled from their first byte on.
     */
    fun run(input: ByteBuffer, outputs: List<ByteBuffer>)
}

/** The bytes of an output tensor as real values. */
fun dequantize(bytes: ByteBuffer, tensor: Tensor): FloatArray {
    val source = bytes.duplicate().order(ByteOrder.nativeOrder())
    source.rewind()
    val values = FloatArray(tensor.size)
    for (i in values.indices) {
        val whole = when (tensor.dtype) {
            Dtype.FLOAT32 -> {
                values[i] = source.getFloat()
                continue
            }
            Dtype.UINT8 -> source.get().toInt() and 0xFF
            Dtype.INT8 -> source.get().toInt()
            Dtype.INT16 -> source.getShort().toInt()
        }
        values[i] = tensor.quantization?.let { ((whole - it.zeroPoint) * it.scale).toFloat() }
            ?: whole.toFloat()
    }
    return values
}
