// Files to pixels, as near to kit/runtime/images.py as a browser's decoders come.

import { KitError } from "./errors.js";
import { intoRgb, jpegScale, type Pixels, pixelsOf, reduced } from "./pixels.js";

const HEAD_BYTES = 132;
const STRIP_PIXELS = 1 << 22;

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

/** Of anything that a canvas draws, over white: in strips, since phones have no large canvases. */
export function drawn(source: CanvasImageSource, width: number, height: number): Pixels {
  const rgb = new Uint8Array(height * width * 3);
  const most = Math.min(height, Math.max(1, Math.floor(STRIP_PIXELS / width)));
  const context = new OffscreenCanvas(width, most).getContext("2d", {
    willReadFrequently: true,
    alpha: false,
  });
  if (context === null) throw new KitError("expected an image that fits in memory, got a larger one");
  for (let top = 0; top < height; top += most) {
    const rows = Math.min(most, height - top);
    context.fillStyle = "white";
    context.fillRect(0, 0, width, rows);
    context.drawImage(source, 0, top, width, rows, 0, 0, width, rows);
    intoRgb(context.getImageData(0, 0, width, rows).data, rgb, top * width * 3);
  }
  return pixelsOf(height, width, rgb);
}

/**
 * Whether this browser gives back the very pixels that were drawn. Some add noise, against pages
 * that tell devices apart by their pixels, and the model would see other images than were measured.
 */
export function readsPixelsExactly(): boolean {
  const [width, height] = [64, 64];
  const context = new OffscreenCanvas(width, height).getContext("2d", {
    willReadFrequently: true,
    alpha: false,
  });
  if (context === null) return false;
  const put = new ImageData(width, height);
  for (let at = 0; at < put.data.length; at++) put.data[at] = at % 4 === 3 ? 255 : (at * 37) % 251;
  context.putImageData(put, 0, 0);
  const found = context.getImageData(0, 0, width, height).data;
  return put.data.every((value, at) => value === found[at]);
}
