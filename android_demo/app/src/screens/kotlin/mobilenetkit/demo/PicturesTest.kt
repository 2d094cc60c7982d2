package mobilenetkit.demo

import java.io.File
import mobilenetkit.classifier.PipeInterpreter
import org.junit.Assume.assumeTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/**
 * Draws the screen for people to look at: `mvn test -Dtest=PicturesTest -Dkit.pictures=FOLDER
 * -Dkit.model=FILE -Dkit.photo=FILE -Dkit.other=FILE -Dkit.python=python -Dkit.server=
 * tests/support/other_runtimes/serve_interpreter.py`; `other` is something that the model does not know.
 */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34])
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class PicturesTest {
    private fun setting(name: String) = System.getProperty("kit.$name")

    private fun draw(name: String, prepare: (Screen) -> Unit) {
        assumeTrue("-Dkit.pictures gives the folder", setting("pictures") != null)
        Screen.hasCamera(true)
        val model = setting("model")
        MainActivity.interpreterOf = { PipeInterpreter(setting("python"), setting("server"), model) }
        Screen.install(File(model).readBytes())
        val screen = Screen().open()
        prepare(screen)
        screen.picture(File(setting("pictures"), "$name.png"))
    }

    private fun photo(screen: Screen) = screen.choosePhoto(File(setting("photo")))

    @Test
    @Config(qualifiers = "$PORTRAIT-xhdpi")
    fun light() = draw("light", ::photo)

    @Test
    @Config(qualifiers = "$PORTRAIT-night-xhdpi")
    fun heatMapAtNight() = draw("night") {
        photo(it)
        it.view(R.id.tab_heat_map).performClick()
    }

    @Test
    @Config(qualifiers = "$PORTRAIT-xhdpi")
    fun unknown() = draw("unknown") { it.choosePhoto(File(setting("other"))) }

    @Test
    @Config(qualifiers = "$PORTRAIT-xhdpi")
    fun permission() = draw("permission") {}

    @Test
    @Config(qualifiers = "w891dp-h411dp-land-xhdpi")
    fun landscape() = draw("landscape", ::photo)

    private companion object {
        const val PORTRAIT = "w411dp-h891dp-port"
    }
}
