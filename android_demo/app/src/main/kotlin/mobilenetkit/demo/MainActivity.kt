package mobilenetkit.demo

import android.Manifest
import android.app.Activity
import android.app.AlertDialog
import android.content.ActivityNotFoundException
import android.content.Intent
import android.content.pm.PackageManager
import android.graphics.SurfaceTexture
import android.hardware.display.DisplayManager
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.Settings
import android.util.Size
import android.view.TextureView
import android.view.View
import android.view.WindowInsets
import android.widget.Button
import android.widget.TextView
import java.nio.ByteBuffer
import kotlin.math.roundToInt
import mobilenetkit.classifier.Decision
import mobilenetkit.classifier.Interpreter

/** The only screen: a picture from the camera or the gallery, and what the model says of it. */
class MainActivity : Activity(), TextureView.SurfaceTextureListener {
    private lateinit var session: Session
    private lateinit var stage: StageView
    private lateinit var preview: TextureView
    private lateinit var panel: AnswerPanel
    private var camera: Camera? = null
    private var dialog: AlertDialog? = null
    private var toldDialog: AlertDialog? = null
    private var isResumed = false
    private var wasRefused = false
    private var cameraProblem: Int? = null

    /** The camera's; another than the screen's after a turn from one landscape to the other. */
    private var cameraRotation = 0
    private val turned = object : DisplayManager.DisplayListener {
        override fun onDisplayAdded(id: Int) = Unit

        override fun onDisplayRemoved(id: Int) = Unit

        // A turn by half a circle is no change of configuration: the activity stays.
        override fun onDisplayChanged(id: Int) {
            if (camera == null || rotation() == cameraRotation) return
            stopCamera()
            render()
        }
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        keepClearOfSystemBars(findViewById(R.id.root))
        stage = findViewById(R.id.stage)
        preview = findViewById(R.id.preview)
        panel = AnswerPanel(findViewById(R.id.root))
        preview.surfaceTextureListener = this
        @Suppress("DEPRECATION") // what replaces it is not part of the platform
        session = lastNonConfigurationInstance as Session? ?: Session(applicationContext, interpreterOf)
        session.changed = ::render
        wasRefused = savedInstanceState?.getBoolean(WAS_REFUSED) ?: false
        findViewById<View>(R.id.tab_camera).setOnClickListener {
            cameraProblem = null
            session.showCamera()
            if (!mayUseCamera() && !wasRefused) askForCamera()
        }
        findViewById<View>(R.id.tab_photo).setOnClickListener { choose(CHOOSE_PHOTO, "image/*") }
        findViewById<View>(R.id.tab_heat_map).setOnClickListener { session.toggleHeatMap() }
        findViewById<View>(R.id.tab_model).setOnClickListener { showModel() }
        render()
    }

    @Deprecated("What replaces it is not part of the platform")
    override fun onRetainNonConfigurationInstance(): Any = session

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        state.putBoolean(WAS_REFUSED, wasRefused)
    }

    override fun onResume() {
        super.onResume()
        isResumed = true
        getSystemService(DisplayManager::class.java).registerDisplayListener(turned, null)
        render()
    }

    override fun onPause() {
        isResumed = false
        getSystemService(DisplayManager::class.java).unregisterDisplayListener(turned)
        stopCamera()
        super.onPause()
    }

    override fun onDestroy() {
        dialog?.dismiss()
        toldDialog?.dismiss()
        session.changed = {}
        if (!isChangingConfigurations) session.close()
        super.onDestroy()
    }

    private fun render() {
        val model = session.model
        val ready = model as? Model.Ready
        val card = ready?.classifier?.card
        val hasMap = card?.screening?.activationMap == true
        tab(R.id.tab_camera, ready != null, session.source == Source.CAMERA)
        tab(R.id.tab_photo, ready != null, session.source == Source.PHOTO)
        tab(R.id.tab_heat_map, ready != null, session.showsHeatMap)
        findViewById<View>(R.id.tab_heat_map).visibility = if (hasMap) View.VISIBLE else View.GONE

        val notice = notice(model)
        val live = ready != null && session.source == Source.CAMERA && notice == null
        if (live && isResumed) startCamera() else stopCamera()
        showNotice(notice)
        stage.showPhoto(session.photo.takeIf { session.source == Source.PHOTO })
        stage.contentDescription =
            getString(if (session.source == Source.CAMERA) R.string.stage_camera else R.string.stage_photo)

        val found = session.found.takeIf { notice == null }
        if (card != null) {
            val map = found?.heatMap.takeIf { session.showsHeatMap }
            stage.showHeatMap(map, card.preprocess.fit)
        }
        findViewById<TextView>(R.id.latency).apply {
            visibility = if (found == null) View.GONE else View.VISIBLE
            val milliseconds = found?.latencyMs?.roundToInt() ?: 0
            text = getString(R.string.latency, milliseconds)
            contentDescription = getString(R.string.latency_description, milliseconds)
        }
        if (found != null && card != null) {
            val isSure = found.answer.unknown != true && found.answer.decision != Decision.UNCERTAIN
            panel.show(answerText(this, found.answer, card), found.answer.categories, isSure)
        } else {
            panel.show(words(model), emptyList(), isSure = false)
        }
        if (isResumed) session.told?.let(::tell)
    }

    private fun tell(told: Told) {
        if (toldDialog?.isShowing == true) return
        toldDialog = AlertDialog.Builder(this)
            .setTitle(told.title)
            .setMessage(told.text)
            .setPositiveButton(R.string.close) { _, _ -> session.seen() }
            .setOnCancelListener { session.seen() } // not when dismissed: it outlives a rotation
            .show()
    }

    private fun tab(id: Int, enabled: Boolean, selected: Boolean) = findViewById<Button>(id).run {
        isEnabled = enabled
        alpha = if (enabled) 1f else 0.4f
        isSelected = enabled && selected
    }

    /** What the panel says while there is no answer. */
    private fun words(model: Model): AnswerText {
        val problem = session.failure ?: (model as? Model.Refused)?.reason
        val (headline, detail) = when {
            model is Model.Refused -> R.string.model_refused to problem
            problem != null -> R.string.something_failed to problem
            model is Model.None -> R.string.no_model to getString(R.string.no_model_detail)
            model is Model.Loading -> R.string.loading to ""
            session.source == Source.PHOTO -> R.string.labelling to ""
            mayUseCamera() -> R.string.waiting to ""
            else -> R.string.camera to ""
        }
        val colour = if (problem == null) R.color.text else R.color.alarm
        return AnswerText(getString(headline), detail.orEmpty(), colour)
    }

    /** What is in the picture's place, with a button that helps. */
    private class Notice(val text: Int, val button: Int, val action: () -> Unit)

    private fun notice(model: Model): Notice? = when {
        model is Model.Refused && session.store.mayGoBack ->
            Notice(R.string.why_own_model, R.string.own_model, session::backToBuiltIn)
        model is Model.None || model is Model.Refused ->
            Notice(R.string.why_open, R.string.open_model, ::chooseModel)
        model is Model.Loading || session.source == Source.PHOTO -> null
        !hasCamera() -> Notice(R.string.no_camera, R.string.photo) { choose(CHOOSE_PHOTO, "image/*") }
        !mayUseCamera() && wasRefused && !shouldShowRequestPermissionRationale(Manifest.permission.CAMERA) ->
            Notice(R.string.camera_refused, R.string.open_settings, ::openSettings)
        !mayUseCamera() -> Notice(R.string.why_camera, R.string.allow_camera, ::askForCamera)
        cameraProblem != null -> Notice(cameraProblem!!, R.string.try_again) {
            cameraProblem = null
            render()
        }
        else -> null
    }

    private fun showNotice(notice: Notice?) {
        findViewById<View>(R.id.notice).visibility = if (notice == null) View.GONE else View.VISIBLE
        notice ?: return
        findViewById<TextView>(R.id.notice_text).setText(notice.text)
        findViewById<Button>(R.id.notice_action).apply {
            setText(notice.button)
            setOnClickListener { notice.action() }
        }
    }

    // The camera

    private fun hasCamera() = packageManager.hasSystemFeature(PackageManager.FEATURE_CAMERA_ANY)

    private fun mayUseCamera() =
        checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED

    private fun askForCamera() =
        requestPermissions(arrayOf(Manifest.permission.CAMERA), ASK_FOR_CAMERA)

    override fun onRequestPermissionsResult(code: Int, permissions: Array<String>, results: IntArray) {
        super.onRequestPermissionsResult(code, permissions, results)
        // No results: the question was put away without an answer.
        if (results.isNotEmpty()) wasRefused = !mayUseCamera()
        render()
    }

    private fun startCamera() {
        if (camera != null) return
        val texture = preview.surfaceTexture
        preview.visibility = View.VISIBLE
        if (texture == null || !preview.isAvailable) return // onSurfaceTextureAvailable comes
        val found = Camera.find(this)
        if (found == null) {
            cameraProblem = R.string.no_camera
            return preview.post(::render).let {}
        }
        camera = found
        cameraRotation = rotation()
        val isTurned = (found.sensorDegrees + cameraRotation * 90) % 180 != 0
        val size = found.previewSize
        stage.showPreview(if (isTurned) Size(size.height, size.width) else size)
        placePreview()
        found.start(texture, cameraRotation * 90, session.frameLabeller()) {
            // Later, also from this thread: render() is at work, with a notice that it made before.
            preview.post {
                if (camera === found) {
                    stopCamera()
                    cameraProblem = R.string.camera_busy
                    render()
                }
            }
        }
    }

    private fun stopCamera() {
        camera?.close()
        camera = null
        preview.visibility = View.GONE
        stage.showPreview(null)
    }

    private fun placePreview() {
        val shown = camera ?: return
        val view = Size(preview.width, preview.height)
        val upright =
            StageView.uprightTransform(view, shown.previewSize, shown.sensorDegrees, cameraRotation)
        preview.setTransform(upright)
    }

    @Suppress("DEPRECATION") // what replaces it needs API 30
    private fun rotation(): Int = windowManager.defaultDisplay.rotation

    override fun onSurfaceTextureAvailable(texture: SurfaceTexture, width: Int, height: Int) = render()

    override fun onSurfaceTextureSizeChanged(texture: SurfaceTexture, width: Int, height: Int) =
        placePreview()

    override fun onSurfaceTextureDestroyed(texture: SurfaceTexture): Boolean {
        camera?.close()
        camera = null
        return true
    }

    override fun onSurfaceTextureUpdated(texture: SurfaceTexture) = Unit

    // Photos and models

    private fun chooseModel() = choose(CHOOSE_MODEL, "*/*")

    private fun choose(code: Int, type: String) {
        val intent = Intent(Intent.ACTION_GET_CONTENT).setType(type).addCategory(Intent.CATEGORY_OPENABLE)
        try {
            @Suppress("DEPRECATION") // what replaces it is not part of the platform
            startActivityForResult(intent, code)
        } catch (error: ActivityNotFoundException) {
            session.tell(getString(R.string.no_gallery))
        }
    }

    @Deprecated("What replaces it is not part of the platform")
    override fun onActivityResult(code: Int, result: Int, data: Intent?) {
        val uri = data?.data ?: return
        when (code) {
            CHOOSE_PHOTO -> session.showPhoto(uri)
            CHOOSE_MODEL -> session.openModel(uri)
        }
    }

    private fun openSettings() {
        val page = Uri.fromParts("package", packageName, null)
        startActivity(Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, page))
    }

    private fun showModel() {
        val ready = session.model as? Model.Ready ?: return showMore()
        val facts = factsOf(this, ready.classifier.card, ready.sizeBytes)
        val open = AlertDialog.Builder(this)
            .setTitle(R.string.model)
            .setMessage("$facts\n\n${getString(R.string.self_test_running)}")
            .setPositiveButton(R.string.close, null)
            .setNeutralButton(R.string.more) { _, _ -> showMore() }
            .show()
            .also { dialog = it }
        session.check(ready.classifier) { results ->
            if (open.isShowing) open.setMessage("$facts\n\n${selfTestText(this, results)}")
        }
    }

    private fun showMore() {
        val choices = listOfNotNull<Pair<Int, () -> Unit>>(
            R.string.open_model to ::chooseModel,
            (R.string.own_model to session::backToBuiltIn).takeIf { session.store.mayGoBack },
            R.string.licences to ::showLicences,
        )
        dialog = AlertDialog.Builder(this)
            .setTitle(R.string.model)
            .setItems(choices.map { getString(it.first) }.toTypedArray()) { _, i -> choices[i].second() }
            .show()
    }

    private fun showLicences() {
        val text = resources.openRawResource(R.raw.licences).bufferedReader().use { it.readText() }
        dialog = AlertDialog.Builder(this)
            .setTitle(R.string.licences)
            .setMessage(text)
            .setPositiveButton(R.string.close, null)
            .show()
    }

    private fun keepClearOfSystemBars(root: View) = root.setOnApplyWindowInsetsListener { view, insets ->
        if (Build.VERSION.SDK_INT >= 30) {
            val bars = insets.getInsets(WindowInsets.Type.systemBars() or WindowInsets.Type.displayCutout())
            view.setPadding(bars.left, bars.top, bars.right, bars.bottom)
        } else {
            @Suppress("DEPRECATION")
            insets.run {
                view.setPadding(
                    systemWindowInsetLeft,
                    systemWindowInsetTop,
                    systemWindowInsetRight,
                    systemWindowInsetBottom,
                )
            }
        }
        insets
    }

    companion object {
        private const val ASK_FOR_CAMERA = 1
        private const val CHOOSE_PHOTO = 2
        private const val CHOOSE_MODEL = 3
        private const val WAS_REFUSED = "was refused"

        /** Tests, which run on no phone, put another here. */
        internal var interpreterOf: (ByteBuffer) -> Interpreter = ::TfliteInterpreter
    }
}
