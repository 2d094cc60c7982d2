// Files to pixels, as near to kit/runtime/images.py as a browser's decoders come.

import { KitError } from "./errors.js";
import { type Pixels, fromRgba, jpegScale, reduced } from "./pixels.js";

const HEAD_BYTES = 132;

/** Raises KitError where it is no image that this browser decodes. */
export async function readImage(file: Blob, longerSide: number): Promise<Pixels> {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  if (String.fromCharCode(...head.subarray(128)) === "DICM") {
    const { readDicom } = await import("./dicom.js"); // few need it
    return readDicom(new Uint8Array(await file.arrayBuffer()));
  }
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none", // profiles are left alone, as Pillow does
      premultiplyAlpha: "none",
    });
  } catch {
    throw new KitError("expected an image that this browser decodes, got another file");
  }
  const pixels = drawn(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  const isJpeg = head[0] === 0xff && head[1] === 0xd8;
  return reduced(pixels, isJpeg ? jpegScale(pixels.height, pixels.width, longerSide) : 1);
}

/** Of anything that a canvas draws, over white. */
export function drawn(source: CanvasImageSource, width: number, height: number): Pixels {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  if (context === null) throw new KitError("expected an image that fits in memory, got a larger one");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return fromRgba(height, width, context.getImageData(0, 0, width, height).data);
}
