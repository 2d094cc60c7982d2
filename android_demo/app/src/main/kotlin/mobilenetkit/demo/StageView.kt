package mobilenetkit.demo

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.graphics.Paint
import android.graphics.RectF
import android.util.AttributeSet
import android.util.Size
import android.view.Surface
import android.view.TextureView
import android.widget.FrameLayout
import mobilenetkit.classifier.Fit
import mobilenetkit.classifier.HeatMap

/** The picture that is labelled, all of it, with what the model made of its parts over it. */
class StageView(context: Context, attributes: AttributeSet?) : FrameLayout(context, attributes) {
    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)
    private val dimmed = Paint().apply { color = Color.argb(140, 0, 0, 0) }
    private var photo: Bitmap? = null
    private var heat: Bitmap? = null
    private var fit = Fit.STRETCH
    private var previewSize: Size? = null

    init {
        setWillNotDraw(false)
        clipToOutline = true
    }

    fun showPhoto(bitmap: Bitmap?) {
        if (photo === bitmap) return
        photo = bitmap
        invalidate()
    }

    /** @param size of the camera's picture when it is upright; null while there is none. */
    fun showPreview(size: Size?) {
        previewSize = size
        requestLayout()
        invalidate()
    }

    /** @param fit of the model: which part of the picture the map is of. */
    fun showHeatMap(map: HeatMap?, fit: Fit) {
        this.fit = fit
        heat = map?.let { Bitmap.createBitmap(it.argb(), it.columns, it.rows, Bitmap.Config.ARGB_8888) }
        invalidate()
    }

    /** Where the picture is: as large as it can be, in the middle; null where there is none. */
    private fun picture(): RectF? {
        val (width, height) = photo?.let { it.width to it.height }
            ?: previewSize?.let { it.width to it.height } ?: return null
        val area = RectF(0f, 0f, this.width.toFloat(), this.height.toFloat())
        return RectF(0f, 0f, width.toFloat(), height.toFloat()).also {
            Matrix().apply { setRectToRect(it, area, Matrix.ScaleToFit.CENTER) }.mapRect(it)
        }
    }

    private fun seen(picture: RectF): RectF {
        val side = when (fit) {
            Fit.STRETCH -> return picture
            Fit.CROP -> minOf(picture.width(), picture.height())
            Fit.PAD -> maxOf(picture.width(), picture.height())
        } / 2
        return RectF(
            picture.centerX() - side,
            picture.centerY() - side,
            picture.centerX() + side,
            picture.centerY() + side,
        )
    }

    override fun onLayout(changed: Boolean, left: Int, top: Int, right: Int, bottom: Int) {
        super.onLayout(changed, left, top, right, bottom)
        val place = previewSize?.let { picture() } ?: return
        findViewById<TextureView>(R.id.preview).layout(
            place.left.toInt(),
            place.top.toInt(),
            place.right.toInt(),
            place.bottom.toInt(),
        )
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        val bitmap = photo ?: return
        picture()?.let { canvas.drawBitmap(bitmap, null, it, smooth) }
    }

    override fun drawChild(canvas: Canvas, child: android.view.View, drawingTime: Long): Boolean {
        val more = super.drawChild(canvas, child, drawingTime)
        if (child.id == R.id.preview) drawOver(canvas)
        return more
    }

    override fun dispatchDraw(canvas: Canvas) {
        // Where the preview is gone nobody draws it, nor what lies over the picture.
        if (findViewById<TextureView>(R.id.preview).visibility != VISIBLE) drawOver(canvas)
        super.dispatchDraw(canvas)
    }

    private fun drawOver(canvas: Canvas) {
        val picture = picture() ?: return
        val seen = seen(picture)
        canvas.save()
        canvas.clipRect(picture)
        heat?.let { canvas.drawBitmap(it, null, seen, smooth) }
        if (fit == Fit.CROP) {
            canvas.clipOutRect(seen)
            canvas.drawRect(picture, dimmed)
        }
        canvas.restore()
    }

    companion object {
        /**
         * What turns a camera's picture upright in a view; Android does so by itself on an upright
         * screen only.
         *
         * @param preview size of the picture as the sensor has it.
         * @param sensorDegrees by which that is turned to be upright in the device's natural orientation.
         */
        fun uprightTransform(view: Size, preview: Size, sensorDegrees: Int, rotation: Int): Matrix {
            val matrix = Matrix()
            val centreX = view.width / 2f
            val centreY = view.height / 2f
            if (rotation == Surface.ROTATION_90 || rotation == Surface.ROTATION_270) {
                // The picture, upright in the natural orientation, was squeezed into the view; undo
                // that, then turn.
                val isAcross = sensorDegrees % 180 != 0
                val natural = if (isAcross) Size(preview.height, preview.width) else preview
                val upright = RectF(0f, 0f, natural.width.toFloat(), natural.height.toFloat())
                upright.offset(centreX - upright.centerX(), centreY - upright.centerY())
                val whole = RectF(0f, 0f, view.width.toFloat(), view.height.toFloat())
                matrix.setRectToRect(whole, upright, Matrix.ScaleToFit.FILL)
                val scale = maxOf(
                    view.height.toFloat() / natural.width,
                    view.width.toFloat() / natural.height,
                )
                matrix.postScale(scale, scale, centreX, centreY)
                matrix.postRotate(90f * (rotation - 2), centreX, centreY)
            } else if (rotation == Surface.ROTATION_180) {
                matrix.postRotate(180f, centreX, centreY)
            }
            return matrix
        }
    }
}
