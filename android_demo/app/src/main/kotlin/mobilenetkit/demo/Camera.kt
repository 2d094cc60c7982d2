package mobilenetkit.demo

import android.annotation.SuppressLint
import android.content.Context
import android.graphics.ImageFormat
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.CaptureRequest
import android.media.Image
import android.media.ImageReader
import android.os.Handler
import android.os.HandlerThread
import android.util.Size
import android.view.Surface
import kotlin.math.abs
import mobilenetkit.classifier.Pixels
import mobilenetkit.classifier.Plane

/** Frames are this size at most: more than any model here takes, little to convert. */
private const val FRAME_LONG_SIDE = 640
private const val PREVIEW_LONG_SIDE = 1440

/**
 * A camera that shows its picture and hands over frames.
 *
 * @property previewSize of the picture as the sensor has it.
 * @property sensorDegrees by which a frame is turned clockwise to be upright on an upright phone.
 */
class Camera private constructor(
    private val manager: CameraManager,
    private val id: String,
    val previewSize: Size,
    private val frameSize: Size,
    val sensorDegrees: Int,
    private val facesUser: Boolean,
) {
    private val thread = HandlerThread("camera").apply { start() }
    private val handler = Handler(thread.looper)
    private val frames = ImageReader.newInstance(frameSize.width, frameSize.height, ImageFormat.YUV_420_888, 2)
    private var device: CameraDevice? = null
    private var isClosed = false

    /**
     * Starts it.
     *
     * @param displayDegrees by which the screen is turned from the device's natural orientation.
     * @param onFrame on the camera's thread; what it is given may be called once, or not at all.
     * @param onFailure on the camera's thread: it was taken away, or cannot be had.
     */
    @SuppressLint("MissingPermission") // the activity asks first; a refusal in between is caught
    fun start(
        texture: SurfaceTexture,
        displayDegrees: Int,
        onFrame: (() -> Pixels) -> Unit,
        onFailure: () -> Unit,
    ) {
        val turn = (sensorDegrees + (if (facesUser) displayDegrees else 360 - displayDegrees)) % 360
        frames.setOnImageAvailableListener({ reader ->
            reader.acquireLatestImage()?.use { image -> onFrame { pixelsOf(image).turned(turn) } }
        }, handler)
        guarded(onFailure) {
            manager.openCamera(id, Opened(texture, onFailure), handler)
        }
    }

    /** Also while it is still being opened. */
    fun close() {
        handler.post {
            isClosed = true
            device?.close()
            frames.close()
            thread.quitSafely()
        }
    }

    private inner class Opened(
        private val texture: SurfaceTexture,
        private val onFailure: () -> Unit,
    ) : CameraDevice.StateCallback() {
        private val preview = Surface(texture)

        @Suppress("DEPRECATION") // what replaces it needs API 28
        override fun onOpened(camera: CameraDevice) {
            if (isClosed) return camera.close()
            device = camera
            guarded(onFailure) {
                // Not before: the view gives its texture the view's own size when it is laid out.
                texture.setDefaultBufferSize(previewSize.width, previewSize.height)
                camera.createCaptureSession(listOf(preview, frames.surface), Configured(camera), handler)
            }
        }

        override fun onDisconnected(camera: CameraDevice) = onError(camera, 0)

        override fun onError(camera: CameraDevice, error: Int) {
            camera.close()
            device = null
            if (!isClosed) onFailure()
        }

        private inner class Configured(private val camera: CameraDevice) : CameraCaptureSession.StateCallback() {
            override fun onConfigured(session: CameraCaptureSession) = guarded(onFailure) {
                val request = camera.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW).apply {
                    addTarget(preview)
                    addTarget(frames.surface)
                    set(CaptureRequest.CONTROL_AF_MODE, CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_PICTURE)
                }
                session.setRepeatingRequest(request.build(), null, handler)
                Unit
            }

            override fun onConfigureFailed(session: CameraCaptureSession) = onFailure()
        }
    }

    private inline fun guarded(onFailure: () -> Unit, action: () -> Unit) {
        try {
            action()
        } catch (error: CameraAccessException) {
            onFailure()
        } catch (error: SecurityException) {
            onFailure()
        } catch (error: IllegalStateException) { // it was closed in between
            if (!isClosed) onFailure()
        } catch (error: IllegalArgumentException) { // it was unplugged in between
            onFailure()
        }
    }

    companion object {
        /** The back camera, else any; null where there is none that can be used. */
        fun find(context: Context): Camera? {
            val manager = context.getSystemService(CameraManager::class.java) ?: return null
            return try {
                val all = manager.cameraIdList.map { it to manager.getCameraCharacteristics(it) }
                val back = all.find { (_, facts) ->
                    facts.get(CameraCharacteristics.LENS_FACING) == CameraCharacteristics.LENS_FACING_BACK
                }
                (back ?: all.firstOrNull())?.let { (id, facts) -> of(manager, id, facts) }
            } catch (error: CameraAccessException) {
                null
            } catch (error: IllegalArgumentException) {
                null
            }
        }

        private fun of(manager: CameraManager, id: String, facts: CameraCharacteristics): Camera? {
            val sizes = facts.get(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP) ?: return null
            val preview = best(sizes.getOutputSizes(SurfaceTexture::class.java), PREVIEW_LONG_SIDE)
            val frame = best(sizes.getOutputSizes(ImageFormat.YUV_420_888), FRAME_LONG_SIDE)
            val degrees = facts.get(CameraCharacteristics.SENSOR_ORIENTATION) ?: 0
            val facing = facts.get(CameraCharacteristics.LENS_FACING)
            val facesUser = facing == CameraCharacteristics.LENS_FACING_FRONT
            return Camera(manager, id, preview ?: return null, frame ?: return null, degrees, facesUser)
        }

        /** The largest of 4 to 3 within the limit: both streams show the same part of the world. */
        private fun best(sizes: Array<Size>?, longSide: Int): Size? {
            val all = sizes.orEmpty()
            return all.filter { it.width <= longSide }
                .minWithOrNull(compareBy({ abs(it.width * 3 - it.height * 4) > 8 }, { -it.width * it.height }))
                ?: all.minByOrNull { it.width * it.height }
        }

        private fun pixelsOf(image: Image): Pixels {
            val (luma, u, v) = image.planes.map { Plane(it.buffer, it.rowStride, it.pixelStride) }
            return Pixels.fromYuv(image.height, image.width, luma, u to v)
        }
    }
}
