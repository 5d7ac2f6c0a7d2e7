// Pictures on stdin, pictures 4 times as large on stdout: see ../esrgan_slim.py.
// In: width and height, uint32 little-endian, then RGB bytes. Out: RGB bytes.
'use strict';

const fs = require('fs');
const path = require('path');
const tf = require('@tensorflow/tfjs-core');
const layers = require('@tensorflow/tfjs-layers');
require('@tensorflow/tfjs-backend-wasm');

const SCALE = 4;

// A model of Keras's layers, read from the folder that model.json lies in.
function files(folder) {
  return {
    load: async () => {
      const model = JSON.parse(fs.readFileSync(path.join(folder, 'model.json'), 'utf8'));
      const [group] = model.weightsManifest;
      const parts = group.paths.map((name) => fs.readFileSync(path.join(folder, name)));
      const bytes = new Uint8Array(Buffer.concat(parts)).buffer;
      return { modelTopology: model.modelTopology, weightSpecs: group.weights, weightData: bytes };
    },
  };
}

async function main() {
  await tf.setBackend('wasm');
  const known = require('@upscalerjs/esrgan-slim/4x');
  const definition = known.default || known;
  const root = path.dirname(require.resolve('@upscalerjs/esrgan-slim/4x')).split('/dist/')[0];
  const model = await layers.loadLayersModel(
    files(path.join(root, path.dirname(definition._internals.path))));
  const [low, high] = definition.inputRange;
  const [from, to] = definition.outputRange;

  const enlarge = (pixels, width, height) => tf.tidy(() => {
    const lr = tf.tensor(Float32Array.from(pixels), [1, height, width, 3]);
    const sr = model.predict(tf.add(tf.mul(lr, (high - low) / 255), low));
    return tf.mul(tf.sub(sr, from), 255 / (to - from)).dataSync();
  });

  let held = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 8) {
      const width = held.readUInt32LE(0), height = held.readUInt32LE(4);
      const end = 8 + width * height * 3;
      if (held.length < end) break;
      const sr = enlarge(held.subarray(8, end), width, height);
      if (sr.length !== width * height * 3 * SCALE * SCALE) throw new Error('wrong size of sr');
      process.stdout.write(Buffer.from(Uint8ClampedArray.from(sr))); // rounds and clamps
      held = held.subarray(end);
    }
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
