package mobilenetkit.demo

import android.graphics.Bitmap
import android.net.Uri
import java.io.ByteArrayOutputStream
import mobilenetkit.classifier.ClassifierException
import mobilenetkit.classifier.Golden
import mobilenetkit.classifier.bytes
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34])
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class PhotoTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun photosAreShownSharpAndWithinWhatAndroidDraws() {
        assertEquals(1, shownScale(1080, 2400))
        assertEquals(2, shownScale(4032, 3024))
        assertEquals(4, shownScale(8000, 6000))
        assertEquals("a long screenshot", 2, shownScale(1080, 25_000))
    }

    @Test
    fun photosAreSeenAtPythonsScaleWhereTheyFitInMemory() {
        assertEquals(4, seenScale(4032, 3024, longerSide = 224))
        assertEquals("a panorama", 4, seenScale(40_000, 2000, longerSide = 512))
        assertEquals("a large PNG", 2, fittingScale(6000, 4000, 1))
        assertEquals("more pixels than an Int counts", 64, fittingScale(200_000, 200_000, 1))
    }

    private fun read(file: ByteArray, longerSide: Int): Photo {
        val uri = Uri.fromFile(folder.newFile().apply { writeBytes(file) })
        return readPhoto(RuntimeEnvironment.getApplication(), uri, longerSide)
    }

    @Test
    fun theModelSeesAJpegAsPythonDoesAndTheScreenAllOfIt() {
        val image = Golden.file("jpeg_scales.json").getJSONObject("image")
        val photo = read(image.bytes("jpeg"), image.getInt("longer_side"))
        assertEquals(11 to 16, photo.seen.height to photo.seen.width)
        assertArrayEquals(image.bytes("pixels"), photo.seen.rgb)
        assertEquals(21 to 31, photo.shown.height to photo.shown.width)
    }

    @Test
    fun theModelSeesAllOfWhatIsNoJpeg() {
        val bitmap = Bitmap.createBitmap(303, 203, Bitmap.Config.ARGB_8888)
        val png = ByteArrayOutputStream().also { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
        val photo = read(png.toByteArray(), 25)
        assertEquals(303 to 203, photo.seen.width to photo.seen.height)
    }

    @Test
    fun aTurnedJpegIsSeenUpright() {
        val jpeg = Golden.file("jpeg_scales.json").getJSONObject("image").bytes("jpeg")
        val upright = read(jpeg, 5).seen
        for ((orientation, degrees) in mapOf(3 to 180, 6 to 90, 8 to 270)) {
            val turned = read(jpeg.copyOf(2) + exif(orientation) + jpeg.drop(2), 5)
            assertArrayEquals("$orientation", upright.turned(degrees).rgb, turned.seen.rgb)
            assertEquals(if (degrees == 180) 31 to 21 else 21 to 31, turned.shown.width to turned.shown.height)
        }
    }

    /** A JPEG's segment with this orientation tag alone, big endian. */
    private fun exif(orientation: Int): ByteArray {
        val directory = "MM\u0000*\u0000\u0000\u0000\u0008\u0000\u0001".map { it.code } +
            listOf(0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0)
        val content = "Exif\u0000\u0000".map { it.code } + directory
        return (listOf(0xFF, 0xE1, 0, content.size + 2) + content).map { it.toByte() }.toByteArray()
    }

    @Test
    fun aJpegThatIsCutOffIsRefused() {
        val jpeg = Golden.file("jpeg_scales.json").getJSONObject("image").bytes("jpeg")
        assertThrows(ClassifierException::class.java) { read(jpeg.copyOf(jpeg.size - 100), 5) }
    }
}
