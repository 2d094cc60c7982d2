// The device's cameras.

import { KitError } from "./errors.js";

export type Facing = "environment" | "user";
/** Why there is no picture; a key of texts.ts. */
export type CameraProblem =
  | "cameraNeedsHttps"
  | "cameraRefused"
  | "cameraMissing"
  | "cameraBusy";

export class CameraError extends KitError {
  constructor(readonly problem: CameraProblem) {
    super(problem);
  }
}

/**
 * Opens a camera; raises CameraError.
 *
 * @param ended called when it is unplugged, or taken away.
 */
export async function openCamera(facing: Facing, ended: () => void): Promise<MediaStream> {
  // Where the page is neither HTTPS nor of this device, browsers have no such object.
  if (!navigator.mediaDevices) throw new CameraError("cameraNeedsHttps");
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: { ideal: facing }, width: { ideal: 1280 }, height: { ideal: 720 } },
      audio: false,
    });
    for (const track of stream.getTracks()) track.addEventListener("ended", ended);
    return stream;
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    if (name === "NotAllowedError" || name === "SecurityError") throw new CameraError("cameraRefused");
    if (name === "NotFoundError") throw new CameraError("cameraMissing");
    throw new CameraError("cameraBusy");
  }
}

export function closeCamera(stream: MediaStream | null): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
