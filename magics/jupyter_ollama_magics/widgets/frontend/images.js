// Pictures for models that see: as they are if that is small, and a thumbnail to look at.

const SENT = 2048; // pixels of the longer side
const SHOWN = 160;
const KNOWN = ["image/png", "image/jpeg", "image/webp"];
const LARGE = 3_000_000; // bytes; servers limit the size of a message

/** Return the bytes and the thumbnail (a data URL) of an image file. */
export async function picture(file) {
  const bitmap = await createImageBitmap(file);
  const fits = KNOWN.includes(file.type) && file.size < LARGE;
  const sent = fits ? file : await drawn(bitmap, SENT, "image/jpeg");
  const shown = await drawn(bitmap, SHOWN, "image/jpeg");
  return { bytes: await sent.arrayBuffer(), thumbnail: await dataUrl(shown) };
}

function drawn(bitmap, longest, type) {
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // below transparent parts: JPEG has no alpha channel
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, type, 0.9));
}

function dataUrl(blob) {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(blob);
  });
}
