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

/** Shows a camera in a video element; raises CameraError. */
export async function startCamera(video: HTMLVideoElement, facing: Facing): Promise<void> {
  // Where the page is neither HTTPS nor of this device, browsers have no such object.
  if (!navigator.mediaDevices) throw new CameraError("cameraNeedsHttps");
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: { ideal: facing }, width: { ideal: 1280 }, height: { ideal: 720 } },
      audio: false,
    });
    await video.play();
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    if (name === "NotAllowedError" || name === "SecurityError") throw new CameraError("cameraRefused");
    if (name === "NotFoundError") throw new CameraError("cameraMissing");
    throw new CameraError("cameraBusy");
  }
}

export function stopCamera(video: HTMLVideoElement): void {
  if (video.srcObject instanceof MediaStream) {
    for (const track of video.srcObject.getTracks()) track.stop();
  }
  video.srcObject = null;
}
