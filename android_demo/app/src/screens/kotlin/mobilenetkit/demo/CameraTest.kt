package mobilenetkit.demo

import android.content.Context
import android.graphics.ImageFormat
import android.graphics.RectF
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.os.Handler
import android.util.Size
import android.view.Surface
import android.view.TextureView
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import org.robolectric.annotation.RealObject
import org.robolectric.shadow.api.Shadow
import org.robolectric.shadows.ShadowCameraCharacteristics
import org.robolectric.shadows.ShadowCameraManager
import org.robolectric.shadows.ShadowDisplayManager
import org.robolectric.shadows.StreamConfigurationMapBuilder
import org.robolectric.util.ReflectionHelpers.ClassParameter

/** Counts who opens a camera, lets nobody have it while it is busy, and opens it when told so. */
@Implements(CameraManager::class)
class GuardedCameras : ShadowCameraManager() {
    @RealObject
    private lateinit var manager: CameraManager

    @Implementation
    fun openCamera(id: String, callback: CameraDevice.StateCallback, handler: Handler?) {
        opened += 1
        if (isBusy) throw CameraAccessException(CameraAccessException.CAMERA_IN_USE)
        open = {
            Shadow.directlyOn<Unit, CameraManager>(
                manager,
                CameraManager::class.java,
                "openCamera",
                ClassParameter.from(String::class.java, id),
                ClassParameter.from(CameraDevice.StateCallback::class.java, callback),
                ClassParameter.from(Handler::class.java, handler),
            )
        }
    }

    companion object {
        var opened = 0
        var isBusy = false
        var open = {}
    }
}

/** Keeps the size that it was given last. */
class SizedTexture : SurfaceTexture(false) {
    @Volatile
    var size = Size(0, 0)

    override fun setDefaultBufferSize(width: Int, height: Int) {
        size = Size(width, height)
    }
}

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34], shadows = [GuardedCameras::class])
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class CameraTest {
    @Before
    fun aPhoneWithACameraAndAModel() {
        GuardedCameras.opened = 0
        GuardedCameras.isBusy = false
        Screen.hasCamera(true)
        Screen.allowCamera()
        Screen.install(File("../../tests/files/red_green_blue_int8.tflite").readBytes())
        MainActivity.interpreterOf = { FixedAnswer(it, listOf(floatArrayOf(0.5f, 0.125f, 0.375f))) }
        val facts = ShadowCameraCharacteristics.newCameraCharacteristics()
        shadowOf(facts).apply {
            val sizes = StreamConfigurationMapBuilder.newBuilder()
                .addOutputSize(SIZE)
                .addOutputSize(ImageFormat.YUV_420_888, SIZE)
            set(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP, sizes.build())
            set(CameraCharacteristics.SENSOR_ORIENTATION, 90)
            set(CameraCharacteristics.LENS_FACING, CameraCharacteristics.LENS_FACING_BACK)
        }
        val manager = RuntimeEnvironment.getApplication().getSystemService(Context.CAMERA_SERVICE)
        shadowOf(manager as CameraManager).addCamera("0", facts)
    }

    /** With a texture, which a view has on a screen only. */
    private fun opened(texture: SurfaceTexture = SizedTexture()): Screen = Screen().open().also { screen ->
        (screen.view(R.id.preview) as TextureView).setSurfaceTexture(texture)
        screen.activity.onSurfaceTextureAvailable(texture, SIZE.width, SIZE.height)
        screen.settle { GuardedCameras.opened > 0 }
    }

    @Test
    fun aCameraThatIsInUseIsTold() {
        GuardedCameras.isBusy = true
        val screen = opened()
        screen.settle { screen.isShown(R.id.notice) }
        assertTrue("close other apps" in screen.text(R.id.notice_text))
        assertFalse(screen.isShown(R.id.preview))
        GuardedCameras.isBusy = false
        screen.view(R.id.notice_action).performClick()
        assertFalse(screen.isShown(R.id.notice))
        assertEquals(2, GuardedCameras.opened)
    }

    @Test
    fun thePreviewHasTheCamerasSizeWhateverTheViewsIs() {
        val texture = SizedTexture()
        val screen = opened(texture)
        texture.setDefaultBufferSize(1, 1) // as the view does when it is laid out
        GuardedCameras.open()
        screen.settle { texture.size == SIZE }
        screen.controller.pause()
    }

    @Test
    fun theCameraIsStartedAnewWhenTheScreenAloneIsTurned() {
        val screen = opened()
        assertEquals(1, GuardedCameras.opened)
        ShadowDisplayManager.changeDisplay(0, "land")
        screen.settle { GuardedCameras.opened == 2 }
        assertTrue(screen.isShown(R.id.preview))
    }

    @Test
    fun aTurnedPictureFillsItsViewWhicheverWayTheSensorIsBuiltIn() {
        for (rotation in listOf(Surface.ROTATION_90, Surface.ROTATION_270)) {
            for ((degrees, view) in listOf(90 to SIZE, 270 to SIZE, 0 to UPRIGHT, 180 to UPRIGHT)) {
                val whole = RectF(0f, 0f, view.width.toFloat(), view.height.toFloat())
                val placed = RectF(whole)
                StageView.uprightTransform(view, SIZE, degrees, rotation).mapRect(placed)
                val sides = listOf(placed.left, placed.top, placed.right, placed.bottom)
                val expected = listOf(whole.left, whole.top, whole.right, whole.bottom)
                sides.zip(expected) { side, at -> assertEquals("sensor at $degrees", at, side, 0.01f) }
            }
        }
    }

    private companion object {
        val SIZE = Size(640, 480)
        val UPRIGHT = Size(480, 640)
    }
}
