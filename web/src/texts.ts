// Every text of the page, in every language. `{name}` stands for a value.

export const LANGUAGES = { en: "English", fr: "Français", es: "Español" } as const;
export type Language = keyof typeof LANGUAGES;

const en = {
  choose: "Choose photographs",
  orDrop: "or drop them here, or paste one",
  startCamera: "Use the camera",
  stopCamera: "Stop the camera",
  otherCamera: "Other camera",
  cameraReason:
    "The camera's picture is looked at on this device alone. Your browser will ask whether this page may use it.",
  privacy: "Nothing leaves this device.",
  loading: "The model is loading …",
  ready: "Ready. It works without a network now.",
  readyOnline: "Ready.",
  newVersion: "A new version is stored: close all windows of this page, and open it again.",
  altered:
    "This browser changes the pixels that a page reads, against being followed. The answers would not be those that were measured: use another browser, or allow this page to read canvases.",
  working: "{done} of {total} images",
  heatMap: "Show where the model looked",
  picture: "The image that the answer is for",
  unknown: "Unknown",
  unknownDetail: "It is unlike the images that the model knows; nearest is {label}, {percent} %.",
  unknownDetailNone: "It is unlike the images that the model knows.",
  positive: "Positive for {label}",
  positiveDetail: "Its score is {percent} %, and {limit} % is enough.",
  negative: "Negative for {label}",
  negativeDetail: "Its score is {percent} %, below {limit} %.",
  uncertain: "Uncertain",
  positiveWord: "positive",
  negativeWord: "negative",
  uncertainWord: "uncertain",
  unknownWord: "unknown",
  uncertainDetail: "The score of {label} is {percent} %, between {low} and {high} %: ask a person.",
  notSure: "Not sure",
  notSureDetail: "No score reaches {limit} %.",
  bestDetail: "Score {percent} %",
  milliseconds: "{ms} ms",
  scores: "Scores",
  results: "Results",
  noResults: "There are none yet.",
  image: "Image",
  answer: "Answer",
  score: "Score",
  download: "Download as CSV",
  clear: "Clear",
  frame: "camera",
  model: "The model",
  network: "Network",
  input: "Input",
  inputOf: "{width} by {height} pixels",
  labels: "Labels",
  accuracy: "Accuracy",
  accuracyOf: "{percent} % ({low} to {high} %, N={images})",
  thresholds: "Thresholds",
  thresholdsOf: "{label} from {high} %, negative below {low} %",
  intendedUse: "Intended use",
  card: "Card",
  file: "File, SHA-256",
  selfTest: "Test this device",
  selfTestPassed: "This device computes what the model's maker computed (largest difference {difference}).",
  selfTestFailed: "THIS DEVICE COMPUTES OTHER SCORES than the model's maker (largest difference {difference}). Do not use it.",
  selfTestNone: "The file has no checks.",
  notMedical: "This page is no medical device.",
  licences: "Licences",
  language: "Language",
  cameraNeedsHttps:
    "Browsers show a camera to pages on this device or with HTTPS only: open it as https://, or choose a photograph.",
  cameraRefused:
    "This page may not use the camera: allow it in the browser's settings for this page, or choose a photograph.",
  cameraMissing: "There is no camera here: choose a photograph.",
  cameraBusy: "The camera does not start: does another program use it? You can choose a photograph.",
  failed: "This page cannot work here: {error}",
};

export type Texts = typeof en;

const fr: Texts = {
  choose: "Choisir des photos",
  orDrop: "ou les déposer ici, ou en coller une",
  startCamera: "Utiliser la caméra",
  stopCamera: "Arrêter la caméra",
  otherCamera: "Autre caméra",
  cameraReason:
    "L’image de la caméra n’est analysée que sur cet appareil. Votre navigateur demandera si cette page peut l’utiliser.",
  privacy: "Rien ne quitte cet appareil.",
  loading: "Chargement du modèle …",
  ready: "Prêt. La page fonctionne désormais sans réseau.",
  readyOnline: "Prêt.",
  newVersion:
    "Une nouvelle version est enregistrée : fermez toutes les fenêtres de cette page, puis ouvrez-la de nouveau.",
  altered:
    "Ce navigateur modifie les pixels qu’une page lit, contre le pistage. Les réponses ne seraient pas celles qui ont été mesurées : utilisez un autre navigateur, ou autorisez cette page à lire les canevas.",
  working: "Images : {done} sur {total}",
  heatMap: "Montrer où le modèle a regardé",
  picture: "L’image à laquelle la réponse se rapporte",
  unknown: "Inconnu",
  unknownDetail:
    "Elle ne ressemble pas aux images que le modèle connaît ; la plus proche est {label}, {percent} %.",
  unknownDetailNone: "Elle ne ressemble pas aux images que le modèle connaît.",
  positive: "Positif pour {label}",
  positiveDetail: "Son score est de {percent} %, et {limit} % suffisent.",
  negative: "Négatif pour {label}",
  negativeDetail: "Son score est de {percent} %, au-dessous de {limit} %.",
  uncertain: "Incertain",
  positiveWord: "positif",
  negativeWord: "négatif",
  uncertainWord: "incertain",
  unknownWord: "inconnu",
  uncertainDetail:
    "Le score de {label} est de {percent} %, entre {low} et {high} % : demandez l’avis d’une personne.",
  notSure: "Pas sûr",
  notSureDetail: "Aucun score n’atteint {limit} %.",
  bestDetail: "Score {percent} %",
  milliseconds: "{ms} ms",
  scores: "Scores",
  results: "Résultats",
  noResults: "Il n’y en a pas encore.",
  image: "Image",
  answer: "Réponse",
  score: "Score",
  download: "Télécharger en CSV",
  clear: "Effacer",
  frame: "caméra",
  model: "Le modèle",
  network: "Réseau",
  input: "Entrée",
  inputOf: "{width} sur {height} pixels",
  labels: "Étiquettes",
  accuracy: "Exactitude",
  accuracyOf: "{percent} % ({low} à {high} %, N={images})",
  thresholds: "Seuils",
  thresholdsOf: "{label} à partir de {high} %, négatif au-dessous de {low} %",
  intendedUse: "Usage prévu",
  card: "Fiche",
  file: "Fichier, SHA-256",
  selfTest: "Tester cet appareil",
  selfTestPassed:
    "Cet appareil calcule ce que l’auteur du modèle a calculé (plus grand écart {difference}).",
  selfTestFailed:
    "CET APPAREIL CALCULE D’AUTRES SCORES que l’auteur du modèle (plus grand écart {difference}). Ne l’utilisez pas.",
  selfTestNone: "Le fichier n’a pas de contrôles.",
  notMedical: "Cette page n’est pas un dispositif médical.",
  licences: "Licences",
  language: "Langue",
  cameraNeedsHttps:
    "Les navigateurs ne donnent la caméra qu’aux pages de cet appareil ou en HTTPS : ouvrez cette page en https://, ou choisissez une photo.",
  cameraRefused:
    "Cette page ne peut pas utiliser la caméra : autorisez-la dans les réglages du navigateur, ou choisissez une photo.",
  cameraMissing: "Il n’y a pas de caméra ici : choisissez une photo.",
  cameraBusy:
    "La caméra ne démarre pas : un autre programme l’utilise-t-il ? Vous pouvez choisir une photo.",
  failed: "Cette page ne peut pas fonctionner ici : {error}",
};

const es: Texts = {
  choose: "Elegir fotografías",
  orDrop: "o suéltelas aquí, o pegue una",
  startCamera: "Usar la cámara",
  stopCamera: "Parar la cámara",
  otherCamera: "Otra cámara",
  cameraReason:
    "La imagen de la cámara solo se mira en este dispositivo. Su navegador preguntará si esta página puede usarla.",
  privacy: "Nada sale de este dispositivo.",
  loading: "Cargando el modelo …",
  ready: "Listo. Ya funciona sin red.",
  readyOnline: "Listo.",
  newVersion:
    "Hay una versión nueva guardada: cierre todas las ventanas de esta página y ábrala de nuevo.",
  altered:
    "Este navegador cambia los píxeles que lee una página, contra el rastreo. Las respuestas no serían las que se midieron: use otro navegador, o permita que esta página lea los lienzos.",
  working: "Imágenes: {done} de {total}",
  heatMap: "Mostrar dónde miró el modelo",
  picture: "La imagen a la que se refiere la respuesta",
  unknown: "Desconocido",
  unknownDetail:
    "No se parece a las imágenes que el modelo conoce; la más cercana es {label}, {percent} %.",
  unknownDetailNone: "No se parece a las imágenes que el modelo conoce.",
  positive: "Positivo para {label}",
  positiveDetail: "Su puntuación es {percent} %, y {limit} % basta.",
  negative: "Negativo para {label}",
  negativeDetail: "Su puntuación es {percent} %, por debajo de {limit} %.",
  uncertain: "Incierto",
  positiveWord: "positivo",
  negativeWord: "negativo",
  uncertainWord: "incierto",
  unknownWord: "desconocido",
  uncertainDetail:
    "La puntuación de {label} es {percent} %, entre {low} y {high} %: pregunte a una persona.",
  notSure: "Dudoso",
  notSureDetail: "Ninguna puntuación llega a {limit} %.",
  bestDetail: "Puntuación {percent} %",
  milliseconds: "{ms} ms",
  scores: "Puntuaciones",
  results: "Resultados",
  noResults: "Aún no hay ninguno.",
  image: "Imagen",
  answer: "Respuesta",
  score: "Puntuación",
  download: "Descargar como CSV",
  clear: "Borrar",
  frame: "cámara",
  model: "El modelo",
  network: "Red",
  input: "Entrada",
  inputOf: "{width} por {height} píxeles",
  labels: "Etiquetas",
  accuracy: "Exactitud",
  accuracyOf: "{percent} % ({low} a {high} %, N={images})",
  thresholds: "Umbrales",
  thresholdsOf: "{label} desde {high} %, negativo por debajo de {low} %",
  intendedUse: "Uso previsto",
  card: "Ficha",
  file: "Archivo, SHA-256",
  selfTest: "Probar este dispositivo",
  selfTestPassed:
    "Este dispositivo calcula lo que calculó quien hizo el modelo (mayor diferencia {difference}).",
  selfTestFailed:
    "ESTE DISPOSITIVO CALCULA OTRAS PUNTUACIONES que quien hizo el modelo (mayor diferencia {difference}). No lo use.",
  selfTestNone: "El archivo no tiene comprobaciones.",
  notMedical: "Esta página no es un producto sanitario.",
  licences: "Licencias",
  language: "Idioma",
  cameraNeedsHttps:
    "Los navegadores solo dan la cámara a páginas de este dispositivo o con HTTPS: abra esta página como https://, o elija una fotografía.",
  cameraRefused:
    "Esta página no puede usar la cámara: permítalo en los ajustes del navegador, o elija una fotografía.",
  cameraMissing: "Aquí no hay cámara: elija una fotografía.",
  cameraBusy: "La cámara no arranca: ¿la usa otro programa? Puede elegir una fotografía.",
  failed: "Esta página no puede funcionar aquí: {error}",
};

export const TEXTS: Readonly<Record<Language, Texts>> = { en, fr, es };

/** Puts values in. */
export function filled(text: string, values: Readonly<Record<string, string | number>>): string {
  return text.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

/**
 * Shares as percent, cut and not rounded, so that none is shown as more than it is; with as many
 * decimals as it takes for different ones to look different, and none but 0 like 0.
 */
export function percents(language: Language, ...shares: readonly number[]): string[] {
  const shown = (digits: number) =>
    shares.map((share) => Math.floor(share * 100 * 10 ** digits + 1e-6) / 10 ** digits);
  const tells = (values: readonly number[]) =>
    new Set(values).size === new Set(shares).size &&
    values.every((value, index) => value !== 0 || shares[index] === 0);
  const digits = [0, 1, 2, 3].find((count) => tells(shown(count))) ?? 4;
  const format = new Intl.NumberFormat(language, { minimumFractionDigits: digits });
  return shown(digits).map((value) => format.format(value));
}
