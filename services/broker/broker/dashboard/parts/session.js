// Who looks at the page: {auth, role, name, id}. Without keys everybody is an admin.
import { createContext, useContext } from "../vendor/view.js";

export const Session = createContext({ auth: false, role: "admin" });
export const useSession = () => useContext(Session);
export const useAdmin = () => useSession().role === "admin";
