// Kotlin is part of the Android plugin from 9.0 on.
plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "mobilenetkit.demo"
    compileSdk = libs.versions.compile.sdk.get().toInt()

    defaultConfig {
        applicationId = "mobilenetkit.demo"
        minSdk = libs.versions.min.sdk.get().toInt()
        targetSdk = libs.versions.target.sdk.get().toInt()
        versionCode = 1
        versionName = "1.0"
    }

    buildTypes {
        release {
            isMinifyEnabled = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"), "proguard-rules.pro")
        }
    }

    // The model is mapped where it lies in the APK, which needs it stored, not deflated.
    androidResources {
        noCompress += "tflite"
    }
}

dependencies {
    implementation(project(":classifier"))
    implementation(libs.tensorflow.lite)
}
