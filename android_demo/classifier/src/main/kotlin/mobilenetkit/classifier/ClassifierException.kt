package mobilenetkit.classifier

/** What the user is told in one line: what was expected, what arrived, what to do. */
class ClassifierException(message: String, cause: Throwable? = null) : Exception(message, cause)
