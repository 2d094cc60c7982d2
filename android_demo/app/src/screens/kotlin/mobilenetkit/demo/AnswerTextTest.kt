package mobilenetkit.demo

import org.junit.Assert.assertEquals
import org.junit.Test

class AnswerTextTest {
    @Test
    fun sharesHaveAsManyDecimalsAsTellThemApart() {
        assertEquals(listOf("87", "25", "75"), percents(0.875f, 0.25, 0.75))
        assertEquals(listOf("20.5", "20.9", "75.0"), percents(0.2055f, 0.2090, 0.75))
        assertEquals("a score in float32", listOf("69", "70"), percents(0.7f, 0.7))
        assertEquals("the same share twice", listOf("50", "50"), percents(0.5f, 0.5))
        assertEquals("closer than it shows", listOf("20.0000", "20.0000"), percents(0.2, 0.20000001))
    }

    @Test
    fun aSmallShareIsNotNone() {
        assertEquals(listOf("0.4", "2.0"), percents(0.004, 0.02))
        assertEquals("0.03", percent(0.0003))
        assertEquals("0", percent(0))
    }

    @Test
    fun noShareIsShownAsMoreThanItIs() {
        assertEquals("99", percent(0.9999))
        assertEquals("29", percent(0.29)) // 28.999999999999996 of a hundred
        assertEquals("100", percent(1f))
    }
}
