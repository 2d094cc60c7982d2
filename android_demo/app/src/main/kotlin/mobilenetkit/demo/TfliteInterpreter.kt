package mobilenetkit.demo

import java.nio.ByteBuffer
import mobilenetkit.classifier.Dtype
import mobilenetkit.classifier.Interpreter
import mobilenetkit.classifier.Quantization
import mobilenetkit.classifier.Tensor
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter as Tflite
import org.tensorflow.lite.Tensor as TfliteTensor

/** TensorFlow Lite on the phone's processor. */
class TfliteInterpreter(model: ByteBuffer) : Interpreter {
    // More threads than the fast cores of most phones make it slower.
    private val tflite = Tflite(model, Tflite.Options().setNumThreads(2))

    override val inputs = List(tflite.inputTensorCount) { tensor(tflite.getInputTensor(it)) }
    override val outputs = List(tflite.outputTensorCount) { tensor(tflite.getOutputTensor(it)) }

    override fun run(input: ByteBuffer, outputs: List<ByteBuffer>) {
        outputs.forEach { it.rewind() }
        val places = outputs.indices.associateWith { outputs[it] as Any }
        tflite.runForMultipleInputsOutputs(arrayOf<Any>(input), places)
    }

    override fun close() = tflite.close()

    private fun tensor(tensor: TfliteTensor): Tensor {
        val dtype = when (tensor.dataType()) {
            DataType.FLOAT32 -> Dtype.FLOAT32
            DataType.UINT8 -> Dtype.UINT8
            DataType.INT8 -> Dtype.INT8
            DataType.INT16 -> Dtype.INT16
            else -> throw IllegalArgumentException("it has a tensor of ${tensor.dataType()}")
        }
        val parameters = tensor.quantizationParams()
        val quantization = Quantization(parameters.scale.toDouble(), parameters.zeroPoint)
            .takeIf { it.scale != 0.0 }
        return Tensor(tensor.name(), tensor.shape().toList(), dtype, quantization)
    }
}
