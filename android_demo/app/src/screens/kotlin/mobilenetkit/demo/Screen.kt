package mobilenetkit.demo

import android.Manifest
import android.app.AlertDialog
import android.graphics.Bitmap
import android.graphics.Canvas
import android.net.Uri
import android.os.Looper
import android.view.View
import android.widget.TextView
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import mobilenetkit.classifier.Dtype
import mobilenetkit.classifier.Interpreter
import mobilenetkit.classifier.ModelFile
import mobilenetkit.classifier.Quantization
import mobilenetkit.classifier.Tensor
import org.robolectric.Robolectric
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.shadows.ShadowAlertDialog

/** Gives the outputs that it was made with, scores and unfamiliarity, whatever goes in. */
class FixedAnswer(model: ByteBuffer, private val answers: List<FloatArray>) : Interpreter {
    private val side = ModelFile.read(model).card.preprocess.inputResolution
    private val pixelsAsTheyAre = Quantization(1 / 127.5, 128)
    override val inputs =
        listOf(Tensor("input", listOf(1, side, side, 3), Dtype.UINT8, pixelsAsTheyAre))
    override val outputs = answers.zip(listOf("scores", "unfamiliarity")) { answer, name ->
        Tensor(name, listOf(1, answer.size), Dtype.FLOAT32)
    }

    override fun run(input: ByteBuffer, outputs: List<ByteBuffer>) =
        answers.forEachIndexed { i, answer ->
            val floats = outputs[i].duplicate().order(ByteOrder.nativeOrder())
            answer.forEachIndexed { place, value -> floats.putFloat(4 * place, value) }
        }

    override fun close() = Unit
}

/** Lets what the main thread is given in until something is so; [state] is told where it is not. */
fun settle(state: () -> String, isSo: () -> Boolean) {
    repeat(1200) {
        shadowOf(Looper.getMainLooper()).idle()
        if (isSo()) return
        Thread.sleep(50)
    }
    error("waited for a minute; ${state()}")
}

/** The app's only screen, driven and looked at. */
class Screen {
    val controller: ActivityController<MainActivity> = Robolectric.buildActivity(MainActivity::class.java)
    val activity: MainActivity get() = controller.get()

    fun open() = apply {
        controller.setup()
        settle { text(R.id.headline) != activity.getString(R.string.loading) }
    }

    /** Lets the worker's results in until something is so. */
    fun settle(isSo: () -> Boolean) =
        settle({ "the screen says: ${text(R.id.headline)}: ${text(R.id.detail)}" }, isSo)

    fun choosePhoto(file: File) {
        activity.findViewById<View>(R.id.tab_photo).performClick()
        answerChooser(file)
        settle { text(R.id.headline) != activity.getString(R.string.labelling) }
    }

    fun answerChooser(file: File) {
        val started = shadowOf(activity).nextStartedActivityForResult
        val data = android.content.Intent().setData(Uri.fromFile(file))
        shadowOf(activity).receiveResult(started.intent, android.app.Activity.RESULT_OK, data)
    }

    /** Presses *Model*, and *More* where there is a model. */
    fun openChoices(): ShadowAlertDialog {
        view(R.id.tab_model).performClick()
        ShadowAlertDialog.getLatestAlertDialog().getButton(AlertDialog.BUTTON_NEUTRAL)
            .takeIf { it?.text == activity.getString(R.string.more) }?.performClick()
        shadowOf(Looper.getMainLooper()).idle()
        return dialog()!!
    }

    fun choose(choice: String) = openChoices().run { clickOnItem(items.indexOf(choice)) }

    /** The one on the screen. */
    fun dialog(): ShadowAlertDialog? =
        ShadowAlertDialog.getLatestAlertDialog()?.takeIf { it.isShowing }?.let { shadowOf(it) }

    fun view(id: Int): View = activity.findViewById(id)

    fun text(id: Int): String = activity.findViewById<TextView>(id).text.toString()

    fun colourOf(id: Int): Int = activity.findViewById<TextView>(id).currentTextColor

    fun isShown(id: Int) = view(id).visibility == View.VISIBLE

    fun picture(file: File) {
        shadowOf(Looper.getMainLooper()).idle()
        val decor = activity.window.decorView
        val bitmap = Bitmap.createBitmap(decor.width, decor.height, Bitmap.Config.ARGB_8888)
        decor.draw(Canvas(bitmap))
        file.outputStream().use { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
    }

    companion object {
        /** The model that the app finds when it starts, as if it had been opened before. */
        fun install(model: ByteArray) =
            File(RuntimeEnvironment.getApplication().filesDir, "opened.tflite").writeBytes(model)

        /** What `kit deploy android` put into the app, which [apk] stands for. */
        fun build(model: ByteArray, apk: File) {
            ZipOutputStream(apk.outputStream()).use { zip ->
                zip.setMethod(ZipOutputStream.STORED)
                val entry = ZipEntry("assets/${ModelStore.ASSET}").apply {
                    size = model.size.toLong()
                    crc = CRC32().apply { update(model) }.value
                }
                zip.putNextEntry(entry)
                zip.write(model)
            }
            RuntimeEnvironment.getApplication().assets.addAssetPath(apk.path)
        }

        fun allowCamera() =
            shadowOf(RuntimeEnvironment.getApplication()).grantPermissions(Manifest.permission.CAMERA)

        fun hasCamera(has: Boolean) = shadowOf(RuntimeEnvironment.getApplication().packageManager)
            .setSystemFeature(android.content.pm.PackageManager.FEATURE_CAMERA_ANY, has)
    }
}
