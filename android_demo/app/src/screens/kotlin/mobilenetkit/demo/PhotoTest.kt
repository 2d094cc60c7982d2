package mobilenetkit.demo

import org.junit.Assert.assertEquals
import org.junit.Test

class PhotoTest {
    @Test
    fun photosStaySharpAndWithinWhatAndroidDraws() {
        assertEquals(1, sampleSize(1080, 2400, 1024))
        assertEquals(2, sampleSize(4032, 3024, 1024))
        assertEquals(4, sampleSize(8000, 6000, 1024))
        assertEquals("a long screenshot", 2, sampleSize(1080, 25_000, 1024))
        assertEquals("more pixels than an Int counts", 64, sampleSize(200_000, 200_000, 100_000))
    }
}
