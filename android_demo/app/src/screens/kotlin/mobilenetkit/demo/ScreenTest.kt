package mobilenetkit.demo

import android.app.AlertDialog
import android.content.pm.PackageManager
import android.graphics.Bitmap
import android.graphics.Color
import android.net.Uri
import android.view.View
import android.widget.Button
import java.io.File
import java.util.concurrent.CountDownLatch
import mobilenetkit.classifier.ModelFile
import mobilenetkit.classifier.cardText
import mobilenetkit.classifier.packaged
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import org.robolectric.shadows.ShadowAlertDialog

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34])
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class ScreenTest {
    @get:Rule
    val folder = TemporaryFolder()

    private val model = File("../../tests/files/red_green_blue_int8.tflite").readBytes()

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
    fun whatTheOperatingPointSays() {
        val point = mapOf("positive" to "a", "negative_below" to 0.25, "positive_from" to 0.75)
        val said = listOf(0.875f, 0.125f, 0.5f).map { of ->
            val screen = answering(listOf(floatArrayOf(of, 1 - of)), "operating_point" to point)
            Triple(screen.text(R.id.headline), screen.text(R.id.detail), screen.colourOf(R.id.headline))
        }
        val (positive, negative, uncertain) = said
        assertEquals("a: positive", positive.first)
        assertEquals("From 75 % on; this image has 87 %", positive.second)
        assertEquals("a: negative", negative.first)
        assertEquals("Below 25 %; this image has 12 %", negative.second)
        assertEquals("Uncertain", uncertain.first)
        assertTrue(uncertain.second.endsWith("50 %, between 25 and 75 %: a person should look"))
        assertEquals(positive.third, negative.third)
        assertNotEquals("it must not look like an answer", positive.third, uncertain.third)
    }

    @Test
    fun theNumbersNextToAThresholdSayWhatTheAnswerSays() {
        val point = mapOf("positive" to "a", "negative_below" to 0.2090, "positive_from" to 0.2090)
        val screen = answering(listOf(floatArrayOf(0.2055f, 0.7945f)), "operating_point" to point)
        assertEquals("a: negative", screen.text(R.id.headline))
        assertEquals("Below 20.9 %; this image has 20.5 %", screen.text(R.id.detail))
    }

    @Test
    fun whatIsUnlikeTheTrainingIsUnknownWhateverItsScore() {
        val screening = mapOf("unfamiliarity_threshold" to 2, "activation_map" to false)
        val point = mapOf("positive" to "a", "negative_below" to 0.25, "positive_from" to 0.75)
        val changes = arrayOf("screening" to screening, "operating_point" to point)
        val scores = floatArrayOf(0.875f, 0.125f)
        val (near, far) = listOf(1f, 3f).map { answering(listOf(scores, floatArrayOf(it)), *changes) }
        assertEquals("a: positive", near.text(R.id.headline))
        assertEquals("Unknown", far.text(R.id.headline))
        assertTrue(far.text(R.id.detail).endsWith("Nearest: a, 87 %"))
        assertNotEquals(near.colourOf(R.id.headline), far.colourOf(R.id.headline))
    }

    /** The screen after a photo, with a model of labels a and b whose card has these fields. */
    private fun answering(outputs: List<FloatArray>, vararg card: Pair<String, Any?>): Screen {
        Screen.install(packaged("kit.json" to cardText(*card)))
        MainActivity.interpreterOf = { FixedAnswer(it, outputs) }
        val file = File(folder.root, "photo.png").takeIf { it.exists() } ?: photo()
        return Screen().open().apply { choosePhoto(file) }
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
    fun aPhotoIsLabelledAgainByAnotherModel() {
        MainActivity.interpreterOf = { content ->
            val labels = ModelFile.read(content).card.labels
            FixedAnswer(content, listOf(FloatArray(labels.size) { it / 4f })) // the last is the best
        }
        Screen.install(model)
        val screen = Screen().open()
        screen.choosePhoto(photo())
        assertEquals("blue", screen.text(R.id.headline))
        screen.choose("Open a model")
        screen.answerChooser(folder.newFile().apply { writeBytes(packaged("kit.json" to cardText())) })
        screen.settle { screen.text(R.id.headline) == "b" }
    }

    @Test
    fun aPhotoThatIsChosenBeforeTheModelIsThereIsLabelledAfterwards() {
        Screen.install(model)
        val mayLoad = CountDownLatch(1)
        val answering = MainActivity.interpreterOf
        MainActivity.interpreterOf = { mayLoad.await().run { answering(it) } }
        val screen = Screen()
        screen.controller.setup()
        screen.view(R.id.tab_photo).performClick()
        screen.answerChooser(photo())
        assertEquals("Reading the model", screen.text(R.id.headline))
        mayLoad.countDown()
        screen.settle { screen.text(R.id.headline) == "red" }
        assertTrue(screen.view(R.id.tab_photo).isSelected)
    }

    @Test
    @Config(qualifiers = "notnight")
    fun buttonsOfALightNavigationBarAreDark() = assertEquals(true, hasDarkNavigationButtons())

    @Test
    @Config(qualifiers = "night")
    fun buttonsOfADarkNavigationBarAreLight() = assertEquals(false, hasDarkNavigationButtons())

    private fun hasDarkNavigationButtons(): Boolean {
        val theme = Screen().open().activity.theme
        return theme.obtainStyledAttributes(intArrayOf(android.R.attr.windowLightNavigationBar))
            .run { getBoolean(0, false).also { recycle() } }
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
        screen.choosePhoto(photo())
        screen.choose("Open a model")
        screen.answerChooser(folder.newFile("wrong.tflite").apply { writeText("something else") })
        fun told() = screen.dialog()?.message?.toString()
        screen.settle { "another kind of file" in told().orEmpty() }
        assertEquals("red", screen.text(R.id.headline))
        screen.controller.recreate()
        assertTrue("a rotation is no answer", "another kind of file" in told().orEmpty())
        ShadowAlertDialog.getLatestAlertDialog().getButton(AlertDialog.BUTTON_POSITIVE).performClick()
        screen.settle { told() == null }
        screen.view(R.id.tab_heat_map).performClick() // all is drawn anew
        assertEquals(null, told())
        assertEquals("red", screen.text(R.id.headline))
        val kept = File(screen.activity.filesDir, "opened.tflite")
        assertArrayEquals(model, kept.readBytes())
        assertEquals(listOf("opened.tflite"), kept.parentFile!!.list()!!.toList())
    }

    private fun build(model: ByteArray) = Screen.build(model, folder.newFile())

    /** Opened on the phone, beside the model that is built in now. */
    private fun openModel(model: ByteArray) = ModelStore(RuntimeEnvironment.getApplication())
        .open(Uri.fromFile(folder.newFile().apply { writeBytes(model) })) {}

    @Test
    fun aNewBuiltInModelTakesThePlaceOfOneThatWasOpenedAndSaysSo() {
        MainActivity.interpreterOf = { FixedAnswer(it, listOf(floatArrayOf(0.5f, 0.5f))) }
        fun model(network: String) = packaged("kit.json" to cardText("backbone" to network))

        /** What is told at the start, and the network in use. */
        fun opened(): Pair<String?, String> {
            ShadowAlertDialog.reset()
            val screen = Screen().open()
            val told = screen.dialog()?.message?.toString()
            screen.view(R.id.tab_model).performClick()
            return told to screen.dialog()!!.message.lines().first()
        }
        build(model("first"))
        openModel(model("own"))
        val own = "Network: own, width 0.25, 4 pixels, int8"
        assertEquals("the same is built in", null to own, opened())
        build(model("second"))
        val (told, network) = opened()
        assertTrue("another model than when you opened yours" in told!!)
        assertEquals("Network: second, width 0.25, 4 pixels, int8", network)
        assertEquals("told once", null to network, opened())
        openModel(model("own"))
        assertEquals("opened again", null to own, opened())
    }

    @Test
    fun withoutABuiltInModelTheOpenedOneStays() {
        openModel(model)
        File(RuntimeEnvironment.getApplication().filesDir, "replaced.sha256").writeText("of one that is gone")
        val screen = Screen().open()
        screen.choosePhoto(photo())
        assertEquals("red", screen.text(R.id.headline))
        assertEquals(listOf("Open a model", "Licences"), screen.openChoices().items.toList())
    }

    @Test
    fun whereAnOpenedModelIsRefusedTheBuiltInOneIsOffered() {
        build(model)
        openModel(File("../../tests/files/plain_int8.tflite").readBytes())
        val screen = Screen().open()
        assertEquals("This model cannot be used", screen.text(R.id.headline))
        assertEquals("Built-in model", screen.text(R.id.notice_action))
        assertTrue("Built-in model" in screen.openChoices().items)
        screen.view(R.id.notice_action).performClick()
        screen.settle { screen.view(R.id.tab_photo).isEnabled }
        screen.choosePhoto(photo())
        assertEquals("red", screen.text(R.id.headline))
    }

    @Test
    fun licencesAreShownWithAndWithoutAModel() {
        fun licences() = Screen().open().run {
            choose("Licences")
            dialog()!!.message.toString()
        }
        val without = licences()
        for (part in listOf("TensorFlow Lite", "Kotlin", "Apache License")) assertTrue(part in without)
        Screen.install(model)
        assertEquals(without, licences())
    }

    @Test
    fun aModelWithoutACardIsRefused() {
        Screen.install(File("../../tests/files/plain_int8.tflite").readBytes())
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
