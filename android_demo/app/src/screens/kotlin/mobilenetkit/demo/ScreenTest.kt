package mobilenetkit.demo

import android.content.pm.PackageManager
import android.graphics.Bitmap
import android.graphics.Color
import android.view.View
import android.widget.Button
import java.io.File
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34])
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class ScreenTest {
    @get:Rule
    val folder = TemporaryFolder()

    private val model = File("../../tests/data/red_green_blue_int8.tflite").readBytes()

    @Before
    fun aPhoneWithACamera() {
        Screen.hasCamera(true)
        MainActivity.interpreterOf = { FixedAnswer(it, listOf(floatArrayOf(0.5f, 0.125f, 0.375f))) }
    }

    private fun photo(): File = folder.newFile("photo.png").also { file ->
        val bitmap = Bitmap.createBitmap(60, 40, Bitmap.Config.ARGB_8888).apply { eraseColor(Color.RED) }
        file.outputStream().use { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
    }

    @Test
    fun withoutAModelItSaysHowToPutOneIn() {
        val screen = Screen().open()
        assertEquals("No model yet", screen.text(R.id.headline))
        assertTrue("kit deploy android" in screen.text(R.id.detail))
        assertFalse(screen.view(R.id.tab_photo).isEnabled)
        assertEquals("Open a model", screen.text(R.id.notice_action))
    }

    @Test
    fun aPhotoIsLabelled() {
        Screen.install(model)
        val screen = Screen().open()
        screen.choosePhoto(photo())
        assertEquals("red", screen.text(R.id.headline))
        assertTrue("50 %" in screen.text(R.id.detail))
        val bars = screen.activity.findViewById<android.view.ViewGroup>(R.id.bars)
        val said = List(bars.childCount) { bars.getChildAt(it).contentDescription }
        assertEquals(listOf("red, 50 percent", "blue, 37 percent", "green, 12 percent"), said)
        assertTrue(screen.isShown(R.id.latency))
        assertFalse("the file has no map", screen.isShown(R.id.tab_heat_map))
    }

    @Test
    fun theModelSeesThePhotosColours() {
        Screen.install(model)
        lateinit var seen: List<Int>
        MainActivity.interpreterOf = { content ->
            val fixed = FixedAnswer(content, listOf(floatArrayOf(0.5f, 0.125f, 0.375f)))
            object : mobilenetkit.classifier.Interpreter by fixed {
                override fun run(input: java.nio.ByteBuffer, outputs: List<java.nio.ByteBuffer>) {
                    seen = List(3) { input.get(it).toInt() and 0xFF }
                    fixed.run(input, outputs)
                }
            }
        }
        Screen().open().choosePhoto(photo())
        assertEquals(listOf(255, 0, 0), seen)
    }

    @Test
    fun theAnswerOutlivesARotation() {
        Screen.install(model)
        val screen = Screen().open()
        screen.choosePhoto(photo())
        screen.controller.recreate()
        assertEquals("red", screen.text(R.id.headline))
        assertTrue(screen.view(R.id.tab_photo).isSelected)
    }

    @Test
    fun whatIsNoImageIsToldInOneLine() {
        Screen.install(model)
        val screen = Screen().open()
        screen.choosePhoto(folder.newFile("text.jpg").apply { writeText("no image") })
        assertEquals("That did not work", screen.text(R.id.headline))
        assertTrue("does not decode" in screen.text(R.id.detail))
        screen.choosePhoto(photo())
        assertEquals("red", screen.text(R.id.headline))
    }

    @Test
    fun aFileThatIsNoModelIsRefusedAndTheOneBeforeStays() {
        Screen.install(model)
        val screen = Screen().open()
        screen.view(R.id.tab_model).performClick()
        val dialog = org.robolectric.shadows.ShadowAlertDialog.getLatestAlertDialog()
        dialog.getButton(android.app.AlertDialog.BUTTON_NEUTRAL).performClick()
        org.robolectric.Shadows.shadowOf(android.os.Looper.getMainLooper()).idle()
        screen.answerChooser(folder.newFile("wrong.tflite").apply { writeText("something else") })
        screen.settle { "another kind of file" in screen.text(R.id.detail) }
        val kept = File(screen.activity.filesDir, "opened.tflite")
        assertArrayEquals(model, kept.readBytes())
        assertEquals(listOf("opened.tflite"), kept.parentFile!!.list()!!.toList())
    }

    @Test
    fun aModelWithoutACardIsRefused() {
        Screen.install(File("../../tests/data/plain_int8.tflite").readBytes())
        val screen = Screen().open()
        assertEquals("This model cannot be used", screen.text(R.id.headline))
        assertTrue("has none" in screen.text(R.id.detail))
    }

    @Test
    fun theCameraIsAskedForWithAReason() {
        Screen.install(model)
        val screen = Screen().open()
        assertTrue("nothing leaves the phone" in screen.text(R.id.notice_text))
        screen.activity.findViewById<Button>(R.id.notice_action).performClick()
        val asked = org.robolectric.Shadows.shadowOf(screen.activity).lastRequestedPermission
        assertEquals(listOf("android.permission.CAMERA"), asked.requestedPermissions.toList())
        screen.activity.onRequestPermissionsResult(
            asked.requestCode,
            asked.requestedPermissions,
            intArrayOf(PackageManager.PERMISSION_DENIED),
        )
        assertTrue("is not allowed" in screen.text(R.id.notice_text))
        assertEquals("Open settings", screen.text(R.id.notice_action))
        screen.choosePhoto(photo())
        assertEquals("red", screen.text(R.id.headline))
    }

    @Test
    fun withoutACameraPhotosStillWork() {
        Screen.hasCamera(false)
        Screen.install(model)
        val screen = Screen().open()
        assertTrue("no camera" in screen.text(R.id.notice_text))
        screen.choosePhoto(photo())
        assertEquals("red", screen.text(R.id.headline))
    }

    @Test
    fun everythingToTouchHasANameAndIsLargeEnough() {
        Screen.install(model)
        val screen = Screen().open()
        val least = 48 * screen.activity.resources.displayMetrics.density
        for (id in listOf(R.id.tab_camera, R.id.tab_photo, R.id.tab_model, R.id.notice_action)) {
            val view = screen.view(id) as Button
            assertTrue((view.contentDescription ?: view.text).isNotBlank())
            assertTrue(view.height >= least && view.width >= least)
        }
        assertEquals(View.ACCESSIBILITY_LIVE_REGION_POLITE, screen.view(R.id.headline).accessibilityLiveRegion)
    }
}
