package mobilenetkit.demo

import android.content.Context
import android.graphics.Bitmap
import android.net.Uri
import android.os.Handler
import android.os.Looper
import java.io.IOException
import java.nio.ByteBuffer
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicBoolean
import mobilenetkit.classifier.CheckResult
import mobilenetkit.classifier.Classification
import mobilenetkit.classifier.Classifier
import mobilenetkit.classifier.ClassifierException
import mobilenetkit.classifier.Interpreter
import mobilenetkit.classifier.Output
import mobilenetkit.classifier.Pixels
import mobilenetkit.classifier.selfTest

enum class Source { CAMERA, PHOTO }

sealed class Model {
    object Loading : Model()

    object None : Model()

    class Ready(val classifier: Classifier, val sizeBytes: Int) : Model()

    class Refused(val reason: String) : Model()
}

/** What is said in a dialog; [title] is of the resources. */
class Told(val title: Int, val text: String)

/**
 * What outlives a rotation of the phone: the model, its thread, the photo and the last answer.
 *
 * All but the work itself is on the main thread; [changed] is called after every change.
 */
class Session(private val context: Context, private val interpreterOf: (ByteBuffer) -> Interpreter) {
    val store = ModelStore(context)
    var changed: () -> Unit = {}
    var model: Model = Model.Loading
        private set
    var found: Classification? = null
        private set
    var photo: Bitmap? = null
        private set

    /** One line about what failed last; null when all is well. */
    var failure: String? = null
        private set

    /** It stays until it was [seen], whatever is labelled meanwhile. */
    var told: Told? = null
        private set
    var source = Source.CAMERA
        private set
    var showsHeatMap = false
        private set

    // After close() it drops what it is given: a frame or a result may still come.
    private val worker = ThreadPoolExecutor(
        1,
        1,
        0,
        TimeUnit.SECONDS,
        LinkedBlockingQueue(),
        ThreadPoolExecutor.DiscardPolicy(),
    )
    private val main = Handler(Looper.getMainLooper())
    private val busy = AtomicBoolean()

    /** Shown, or awaiting the model: the gallery can outlive the app's process. */
    private var chosen: Uri? = null

    init {
        load()
    }

    fun load() = work({
        if (store.goBackToNewBuiltIn()) {
            main.post { tell(context.getString(R.string.new_built_in), R.string.own_model) }
        }
        val content = store.content()
        val loaded = content?.let { Model.Ready(Classifier.open(it, interpreterOf), it.limit()) }
        loaded ?: Model.None
    }) { result ->
        val loaded = result.getOrElse { Model.Refused(it.message!!) }
        if (worker.isShutdown) { // nobody is left to use it
            (loaded as? Model.Ready)?.classifier?.close()
            return@work
        }
        (model as? Model.Ready)?.classifier?.let { old -> worker.execute(old::close) }
        model = loaded
        found = null
        chosen?.let(::showPhoto) // another model may see it at another scale
    }

    /** Another model, if it is one that works; else all stays as it is. */
    fun openModel(uri: Uri) = work({
        store.open(uri) { content -> Classifier.open(content, interpreterOf).close() }
    }) { result ->
        result.onSuccess { load() }.onFailure { tell(it.message!!) }
    }

    fun backToBuiltIn() {
        store.backToBuiltIn()
        load()
    }

    fun showCamera() {
        source = Source.CAMERA
        chosen = null
        photo = null
        found = null
        failure = null
        changed()
    }

    fun showPhoto(uri: Uri) {
        chosen = uri
        val classifier = (model as? Model.Ready)?.classifier ?: return
        source = Source.PHOTO
        photo = null
        found = null
        failure = null
        changed()
        work({ readPhoto(context, uri, classifier.card.preprocess.longerSide) }) { result ->
            if (chosen !== uri || (model as? Model.Ready)?.classifier !== classifier) return@work
            failure = result.exceptionOrNull()?.message
            photo = result.getOrNull()?.shown
            result.onSuccess { label(classifier, it) }
        }
    }

    fun toggleHeatMap() {
        showsHeatMap = !showsHeatMap
        changed()
    }

    fun tell(text: String, title: Int = R.string.something_failed) {
        told = Told(title, text)
        changed()
    }

    fun seen() {
        told = null
    }

    private fun label(classifier: Classifier, read: Photo) =
        work({ classifier.classify(read.seen, TOP_K) }) { result ->
            if (photo === read.shown) show(result)
        }

    /**
     * What labels the frames of one camera, each by the mean of the last ones.
     *
     * It takes them from any thread; a frame is made when there is time for it.
     */
    fun frameLabeller(): (() -> Pixels) -> Unit {
        val last = mutableListOf<Output>() // of one model; the worker's, as the next is
        var before: Classifier? = null
        return label@{ frame ->
            val classifier = (model as? Model.Ready)?.classifier ?: return@label
            if (!busy.compareAndSet(false, true)) return@label
            val pixels = frame()
            work({
                try {
                    if (classifier !== before) last.clear()
                    if (last.size == SMOOTHED_FRAMES) last.removeAt(0)
                    before = classifier
                    classifier.classify(pixels, TOP_K, last)
                } finally {
                    busy.set(false)
                }
            }) { result ->
                if (source == Source.CAMERA) show(result)
            }
        }
    }

    /** Runs the card's golden checks; [then] gets null where the model fails. */
    fun check(classifier: Classifier, then: (List<CheckResult>?) -> Unit) =
        work({ selfTest(classifier) }) { then(it.getOrNull()) }

    private fun show(result: Result<Classification>) {
        found = result.getOrNull()
        failure = result.exceptionOrNull()?.message
    }

    fun close() {
        changed = {}
        (model as? Model.Ready)?.classifier?.let { worker.execute(it::close) }
        worker.shutdown()
    }

    private fun <T> work(job: () -> T, then: (Result<T>) -> Unit) {
        worker.execute {
            val result = try {
                Result.success(job())
            } catch (error: ClassifierException) {
                Result.failure(error)
            } catch (error: IOException) {
                Result.failure(ClassifierException(context.getString(R.string.not_readable), error))
            } catch (error: OutOfMemoryError) {
                Result.failure(ClassifierException(context.getString(R.string.too_large), error))
            } catch (error: UnsatisfiedLinkError) {
                Result.failure(ClassifierException(context.getString(R.string.no_runtime), error))
            } catch (error: RuntimeException) {
                // Decoders and drivers of some phones throw what no document lists: a line, no crash.
                val reason = context.getString(R.string.failed, error.message.orEmpty().lines().first())
                Result.failure(ClassifierException(reason, error))
            }
            main.post {
                then(result)
                changed()
            }
        }
    }

    private companion object {
        const val TOP_K = 5
        const val SMOOTHED_FRAMES = 3 // as kit-label --camera
    }
}
