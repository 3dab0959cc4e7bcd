// Makes the replica set of one and the user of JustLens; safe to repeat.
// Run by mongosh, connected to the server directly.

db.getSiblingDB("admin").auth("admin", process.env.MONGODB_ADMIN_PASSWORD);

try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  // By the name that clients use: they are told to go to the members' own addresses.
  rs.initiate({ _id: "justlens", members: [{ _id: 0, host: "mongodb:27017" }] });
}

// Nothing can be written before the member has elected itself.
const until = Date.now() + 60_000;
while (!db.hello().isWritablePrimary) {
  if (Date.now() > until) throw new Error("the replica set has no primary after a minute");
  sleep(200);
}

const data = db.getSiblingDB("justlens");
if (!data.getUser("justlens")) {
  data.createUser({
    user: "justlens",
    pwd: process.env.MONGODB_PASSWORD,
    roles: [{ role: "readWrite", db: "justlens" }],
  });
}
