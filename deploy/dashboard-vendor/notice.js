// Prints name, version and licence of everything that the vendor folder holds, and the licences' texts.
import { existsSync, readFileSync } from "node:fs";

const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
const packages = Object.entries(lock.packages).filter(([path, entry]) => path && !entry.dev && !entry.optional);
const texts = new Map();
for (const [path] of packages) {
  const { name, version, license } = JSON.parse(readFileSync(`${path}/package.json`, "utf8"));
  console.log(`${name} ${version} (${license})`);
  const file = ["LICENSE", "LICENSE.md", "LICENSE.txt"].map((one) => `${path}/${one}`).find(existsSync);
  const text = file ? readFileSync(file, "utf8").trim() : license;
  texts.set(text, [...(texts.get(text) ?? []), name]);
}
for (const [text, names] of texts) console.log(`\n${"-".repeat(80)}\n${names.join(", ")}\n\n${text}`);
