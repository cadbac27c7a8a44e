// Runs a program under MicroPython: node run_micropython.mjs MICROPYTHON PROGRAM FIRMWARE REQUESTS ANSWERS
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [micropython, program, firmware, requests, answers] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(micropython));
const python = await loadMicroPython({ heapsize: 2 ** 24, stdout: (line) => console.error(line) });
python.FS.mkdir("/firmware");
for (const name of readdirSync(firmware).filter((name) => name.endsWith(".py")))
  python.FS.writeFile(`/firmware/${name}`, readFileSync(`${firmware}/${name}`));
python.FS.writeFile("/requests", readFileSync(requests));
try {
  python.runPython("import sys; sys.argv.extend(['program', '/firmware', '/requests', '/answers'])");
  python.runPython(readFileSync(program, "utf8"));
} catch (error) {
  console.error(error.message); // without the source of the interpreter, which is one long line
  process.exit(1);
}
writeFileSync(answers, python.FS.readFile("/answers"));
